"""Small FLOAT graphs with random weights, for tests of passes and of the whole compiler."""

from __future__ import annotations

from functools import partial

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from qbnnc.ir.evaluate import evaluate
from qbnnc.ir.graph import Graph
from qbnnc.ir.ops import (
    Add,
    AveragePool2d,
    Clamp,
    Concat,
    Conv2d,
    Function,
    Gather,
    InsertZeros,
    Linear,
    Multiply,
    Pad,
    Reshape,
    Slice,
    Transpose,
    UpsampleNearest,
)
from qbnnc.ir.rng import Draw
from qbnnc.ir.types import Array
from qbnnc.support.errors import Loc
from tests.drawing_graphs import drawn_weights, noisy_activations
from tests.net import Net


def mlp(seed: int = 0, p: float | None = 0.1) -> Graph:
    """10 -> 24 -> 16 -> (mu, log_var), with dropout after each ReLU if p is given."""
    net = Net((10,), seed)
    for number, width in ((1, 24), (2, 16)):
        net.linear(width, f"fc{number}").relu(f"relu{number}")
        if p is not None:
            net.dropout(p, f"drop{number}")
    hidden = net.value
    mu = net.linear(1, "mu").value
    net.value = hidden
    return net.graph(mu, net.linear(1, "log_var").value)


def lenet(seed: int = 0, p: float | None = 0.2) -> Graph:
    """A LeNet-5 of 1x12x12 images and 5 classes; channel dropout, then element dropout."""
    net = Net((1, 12, 12), seed)
    for number, width in ((1, 6), (2, 10)):
        net.conv(width, 3, f"conv{number}").relu(f"relu{number}").max_pool(f"pool{number}")
        if p is not None:
            net.dropout(p, f"drop{number}", channels=True)
    net.flatten("flatten").linear(20, "fc1").relu("relu3")
    if p is not None:
        net.dropout(p, "drop3")
    return net.linear(5, "fc2").graph()


def resnet(seed: int = 0) -> Graph:
    """Two residual blocks with batch norm and channel dropout on 3x8x8 images, 4 classes."""
    net = Net((3, 8, 8), seed)
    padded = Conv2d(padding=(1, 1, 1, 1))
    net.conv(6, 3, "conv", padded).batch_norm("bn").relu("relu")
    for name in ("block1", "block2"):
        net.residual(f"{name}.add", partial(_block, name=name)).relu(f"{name}.relu2")
    pooled = net.emit(AveragePool2d((8, 8), (8, 8)), name="pool")
    return pooled.flatten("flatten").linear(4, "fc").graph()


def _block(net: Net, name: str) -> Net:
    padded = Conv2d(padding=(1, 1, 1, 1))
    return (
        net.conv(6, 3, f"{name}.conv1", padded)
        .batch_norm(f"{name}.bn1")
        .relu(f"{name}.relu1")
        .dropout(0.15, f"{name}.drop", channels=True)
        .conv(6, 3, f"{name}.conv2", padded)
        .batch_norm(f"{name}.bn2")
    )


def bayesian_mlp(seed: int = 0) -> Graph:
    """10 -> 16 -> (mu, log_var), every weight and bias sampled."""
    net = Net((10,), seed).bayesian(16, "fc1", Linear()).relu("relu1")
    hidden = net.value
    mu = net.bayesian(1, "mu", Linear()).value
    net.value = hidden
    return net.graph(mu, net.bayesian(1, "log_var", Linear()).value)


def bayesian_lenet(seed: int = 0) -> Graph:
    """Sampled convolutions (one with batch norm, one in groups), dropout, sampled linear layers."""
    net = Net((2, 10, 10), seed).bayesian(4, "conv1", Conv2d()).batch_norm("bn").relu("relu1")
    net.max_pool("pool").dropout(0.25, "drop", channels=True)
    grouped = Conv2d((1, 1), (1, 1, 1, 1), (1, 1), 2)
    net.bayesian(6, "conv2", grouped, sampled_bias=False).relu("relu2").flatten("flatten")
    return net.bayesian(5, "fc", Linear()).graph()


def rearranged_noise(seed: int = 0) -> Graph:
    """A weight whose noise is transposed, and longer than the weight."""
    net = Net((4,), seed)
    mu, sigma = net.rng.normal(size=(3, 4)), net.rng.uniform(0, 0.3, (3, 4))
    index = (np.arange(12, dtype=np.int32).reshape(4, 3).T + 2).copy()
    weight = net.sampled("fc.weight", mu, sigma, index)
    return net.emit(Linear(), weight, net.constant("fc.bias", 3), name="fc").graph()


def squeeze_excite(seed: int = 0) -> Graph:
    """hardswish, a gate of sigmoids over the channels, and tanh at the output."""
    net = Net((3, 6, 6), seed).conv(4, 3, "conv", Conv2d(padding=(1, 1, 1, 1)))
    image = net.unary(Function.HARDSWISH, "hardswish").value
    net.emit(AveragePool2d((6, 6), (6, 6)), name="squeeze").conv(4, 1, "excite")
    gate = net.unary(Function.SIGMOID, "gate").value
    net.value = image
    net.emit(Multiply(), gate, name="scale").flatten("flatten").linear(3, "fc")
    return net.unary(Function.TANH, "tanh").graph()


def unet(seed: int = 0) -> Graph:
    """Down, up by a transposed convolution and by nearest neighbours, with concatenations."""
    same = Conv2d(padding=(1, 1, 1, 1))
    net = Net((2, 8, 8), seed).conv(3, 3, "enter", same).relu("relu1")
    skip = net.value
    net.max_pool("down").conv(4, 3, "middle", same).unary(Function.LEAKY_RELU, "leaky", 0.1)
    middle = net.value
    net.emit(InsertZeros((2, 2)), name="spread").emit(Pad((1, 1, 2, 2)), name="pad")
    left = net.conv(3, 3, "up").relu("relu2").value
    net.value = middle
    right = net.emit(UpsampleNearest((2, 2)), name="nearest").value
    net.value = net.build.emit(Concat(0), skip, left, right, loc=Loc("cat"), name="cat")
    net.emit(Transpose((0, 2, 1)), name="transpose").emit(Slice(1, 1, 7, 2), name="slice")
    return net.dropout(0.2, "drop", channels=True).conv(2, 1, "leave").graph()


def dense(seed: int = 0) -> Graph:
    """Pre-activation blocks whose outputs are joined to their inputs."""
    net = Net((3, 6, 6), seed).conv(4, 3, "conv", Conv2d(padding=(1, 1, 1, 1)))
    for name in ("a", "b"):
        before = net.value
        net.batch_norm(f"{name}.bn").relu(f"{name}.relu")
        net.conv(3, 3, f"{name}.conv", Conv2d(padding=(1, 1, 1, 1)))
        net.value = net.build.emit(Concat(0), before, net.value, loc=Loc(name), name=f"{name}.cat")
    return net.relu("relu").average_pool("pool").flatten("flatten").linear(4, "fc").graph()


def reshaped_outputs(seed: int = 0) -> Graph:
    """Outputs that leave in another shape: of a convolution, a linear layer and a sigmoid."""
    net = Net((2, 6, 6), seed).dropout(0.3, "drop")
    dropped = net.value
    image = net.conv(4, 3, "conv").emit(Reshape((8, 8)), name="view").value
    net.value = dropped
    flat = net.flatten("flatten").linear(1, "fc").emit(Reshape(()), name="squeeze").value
    net.value = dropped
    net.conv(2, 3, "gate").unary(Function.SIGMOID, "sigmoid").emit(Reshape((4, 8)), name="p")
    return net.graph(image, flat, net.value)


def moved_outputs(seed: int = 0) -> Graph:
    """Outputs whose elements move on the way out, and cut ones, of layers and of a sigmoid."""
    net = Net((2, 6, 6), seed).dropout(0.3, "drop")
    dropped = net.value
    last = net.conv(4, 3, "conv").emit(Transpose((1, 2, 0)), name="last").value
    net.value = dropped
    flat = net.flatten("flatten").linear(4, "fc").emit(Gather(0, (3, 0, 3)), name="taken")
    taken = flat.emit(Reshape((1, 3)), name="view").value
    net.value = dropped
    net.conv(2, 3, "gate").unary(Function.SIGMOID, "sigmoid")
    net.emit(Transpose((2, 0, 1)), name="turned").emit(Slice(1, 1, 2), name="cut")
    return net.graph(last, taken, net.value)


def sequence(seed: int = 0) -> Graph:
    """A layer at each of 5 positions, less its mean, with uneven windows and a sum at the end."""
    net = Net((5, 6), seed).dropout(0.3, "drop").emit(Reshape((1, 5, 6)), name="positions")
    parameters = net.constant("fc.weight", 7, 1, 1, 6), net.constant("fc.bias", 7)
    net.emit(Conv2d(), *parameters, name="fc").emit(Transpose((2, 1, 0)), name="turned")
    net.relu("relu")
    image = net.value
    net.emit(AveragePool2d((5, 1), (5, 1)), name="mean").emit(Gather(1, (0,) * 5), name="each")
    net.value = net.build.emit(Add(), image, net.value, loc=Loc("add"), name="add")
    net.emit(Gather(1, (0, 1, 2, 2, 3, 4)), name="windows")
    op = AveragePool2d((3, 1), (3, 1), divisors=tuple(float(n) for n in (*[3] * 7, *[2] * 7)))
    net.emit(op, name="uneven")
    net.emit(AveragePool2d((2, 7), (1, 1), divisors=(1.0,)), name="sum")
    return net.flatten("flatten").linear(3, "last").graph()


def elementwise(seed: int = 0) -> Graph:
    """A function of several ops, batch norm that no layer can take, and softplus with a floor."""
    net = Net((2, 6, 6), seed).conv(4, 3, "conv")
    conv = net.value
    net.unary(Function.SOFTPLUS, "softplus").unary(Function.TANH, "tanh")
    net.emit(Multiply(), conv, name="mish").batch_norm("bn").dropout(0.3, "drop")
    net.flatten("flatten").linear(5, "fc").relu("relu")
    ramp = np.linspace(-1, 1, 5, dtype=np.float32)
    hidden = net.affine(ramp, ramp, "scale").dropout(0.2, "drop2").value
    mean = net.linear(2, "mean").value
    net.value = hidden
    net.linear(2, "spread").unary(Function.SOFTPLUS, "positive")
    return net.graph(mean, net.affine(np.array(2, "f4"), np.array(1e-3, "f4"), "floor").value)


FAMILIES = {
    "bayesian mlp": bayesian_mlp,
    "bayesian lenet": bayesian_lenet,
    "rearranged noise": rearranged_noise,
    "drawn weights": drawn_weights,
    "noisy activations": noisy_activations,
    "squeeze excite": squeeze_excite,
    "unet": unet,
    "dense": dense,
    "reshaped outputs": reshaped_outputs,
    "moved outputs": moved_outputs,
    "sequence": sequence,
    "elementwise": elementwise,
}


@st.composite
def float_graphs(draw: st.DrawFn) -> Graph:
    """Random convolutional or linear networks with every FLOAT op that passes look for."""
    image = draw(st.booleans())
    net = Net((2, 8, 8) if image else (6,), draw(st.integers(0, 2**16)))
    for number in range(draw(st.integers(1, 5))):
        _random_layer(draw, net, f"{number}")
    if len(net.value.type.shape) == 3:
        net.flatten("flatten")
    return net.linear(3, "last").graph()


def _random_layer(draw: st.DrawFn, net: Net, name: str) -> None:
    shape = net.value.type.shape
    if len(shape) == 3:
        net.conv(draw(st.integers(1, 4)), 3, f"conv{name}", Conv2d(padding=(1, 1, 1, 1)))
    else:
        net.linear(draw(st.integers(1, 8)), f"fc{name}")
    if draw(st.booleans()):
        net.batch_norm(f"bn{name}")
    after = ["relu", "dropout", "relu6"]
    if len(shape) == 3 and min(net.value.type.shape[1:]) >= 4:
        after += ["max_pool", "average_pool"]
    for step in draw(st.lists(st.sampled_from(after), max_size=3)):
        if step in ("max_pool", "average_pool") and min(net.value.type.shape[1:]) < 4:
            continue
        _random_step(draw, net, step, f"{step}{name}.{net.streams}.{len(net.calls)}")
        net.calls[step + name] = len(net.calls)


def _random_step(draw: st.DrawFn, net: Net, step: str, name: str) -> None:
    match step:
        case "relu":
            net.relu(name)
        case "relu6":
            net.emit(Clamp(0.0, 1.5), name=name)
        case "dropout":
            net.dropout(draw(st.sampled_from([0.1, 0.25, 0.5])), name, channels=draw(st.booleans()))
        case "max_pool":
            net.max_pool(name)
        case "average_pool":
            net.average_pool(name)


def inputs(graph: Graph, rows: int = 5, seed: int = 1) -> NDArray[np.float32]:
    """Normal inputs [rows, *shape] for a graph."""
    shape = (rows, *graph.input.type.shape)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def run(graph: Graph, x: NDArray[np.float32], samples: int = 3, seed: int = 7) -> tuple[Array, ...]:
    """The oracle's outputs."""
    return evaluate(graph, x, Draw.of(seed, range(samples), range(len(x))))
