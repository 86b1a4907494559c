"""Ops that are supported, and ops that are not: each alone, in a small network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from qbnnc.frontend import read_module
from qbnnc.frontend.convert import convert
from qbnnc.frontend.torch_messages import quiet_torch
from qbnnc.ir.ops import Conv2d, Linear, Unary
from qbnnc.support.errors import CompileError
from tests.examples import slow_but
from tests.frontend.nets import Around, Spelled, randomise_batch_norm
from tests.frontend.outputs import assert_same, images, outputs_of

ONE_LAYER = {
    "clamp": lambda h: h.clamp(-0.5, 0.25),
    "clamp_min": lambda h: h.clamp_min(0.1),
    "clamp_max": lambda h: torch.clamp_max(h, 0.3),
    "maximum": lambda h: torch.maximum(torch.zeros(()), h),
    "minimum": lambda h: torch.minimum(h, torch.ones(())),
    "threshold": lambda h: F.threshold(h, 0.0, 0.0),
    "arithmetic": lambda h: (1 - 2 * h / 3.0).sub(h, alpha=0.5) + h.neg() + torch.ones(6),
    "rsub": lambda h: torch.rsub(h, torch.arange(6.0), alpha=2),
    "add alpha": lambda h: torch.add(h, h, alpha=3),
    "in place": lambda h: h.mul_(2).add_(1).relu_(),
    "constant divided": lambda h: h / torch.arange(1.0, 7.0),
    "softmax": lambda h: h.softmax(-1),
    "softmax of the last axis": lambda h: h.reshape(-1, 2, 3).softmax(2).flatten(1),
    "unflatten": lambda h: h.unflatten(1, (2, 3)).unsqueeze(2).squeeze().reshape(-1, 6),
    "transpose of a 1": lambda h: h[:, None].transpose(1, 2).permute(0, 2, 1).squeeze(1),
    "double": lambda h: h.double().float().contiguous().clone().detach(),
    "expand": lambda h: h.expand(h.shape[0], 6) * torch.full((1, 1), 2.0).expand_as(h),
    "conv1d": lambda h: F.conv1d(h.unsqueeze(1), torch.ones(2, 1, 3), padding=1).flatten(1)[:, :],
    "pool1d": lambda h: F.max_pool1d(h.unsqueeze(1), 2, 1) .flatten(1),
    "avg_pool1d": lambda h: F.avg_pool1d(h.unsqueeze(1), 3, 1, 1).flatten(1),
    "adaptive": lambda h: F.adaptive_avg_pool2d(h.reshape(-1, 1, 2, 3), (2, 1)).flatten(1),
    "adaptive max": lambda h: F.adaptive_max_pool2d(h.reshape(-1, 2, 1, 3), 1).flatten(1),
    "amax": lambda h: h.reshape(-1, 2, 1, 3).amax((2, 3)),
    "mean": lambda h: h.reshape(-1, 2, 3).mean(-1),
    "mean keepdim": lambda h: h.reshape(-1, 3, 2, 1).mean((-1, -2), keepdim=True).flatten(1),
    "pad": lambda h: F.conv2d(
        F.pad(h.reshape(-1, 1, 2, 3), (1, 0, 0, 2)), torch.ones(1, 1, 2, 2), padding=1
    ).flatten(1),
    "ceil that fits": lambda h: F.max_pool2d(
        h.reshape(-1, 1, 2, 3), (2, 1), ceil_mode=True
    ).flatten(1),
    "two activations": lambda h: h * h.clamp(-1, 1),
    "swish by hand": lambda h: h * torch.sigmoid(h) + h * F.relu6(h + 3) / 6,
    "broadcast product": lambda h: (h.reshape(-1, 2, 3) * h[:, None, :3]).flatten(1),
    "transpose": lambda h: h.reshape(-1, 2, 3).transpose(1, 2).flatten(1),
    "permute": lambda h: h.reshape(-1, 1, 2, 3).permute(0, 3, 1, 2).flatten(1),
    "mT": lambda h: h.reshape(-1, 2, 3).mT.flatten(1),
    "part": lambda h: F.pad(h[:, :3], (2, 1)),
    "cropping pad": lambda h: F.pad(h.reshape(-1, 1, 2, 3), (-1, 1, 1, -1)).flatten(1),
    "pad alone": lambda h: F.pad(h.reshape(-1, 1, 2, 3), (1, 0, 2, 0)).flatten(1),
    "slices": lambda h: torch.cat([h[:, 1:5:2], h[:, -2:], h[:, :1]], 1),
    "select": lambda h: torch.stack([h[:, 0], h[:, -1], h.select(1, 2)], 1),
    "stack inside": lambda h: torch.stack([h, 2 * h], -1).flatten(1),
    "narrow": lambda h: h.narrow(1, 2, 3),
    "split": lambda h: torch.cat(h.split_with_sizes([1, 2, 3], 1)[::-1], dim=1),
    "split evenly": lambda h: torch.cat(torch.ops.aten.split(h, 4, 1)[::-1], dim=1),
    "chunk": lambda h: torch.cat(h.chunk(4, 1)[::-1], -1),
    "unbind": lambda h: sum(h.reshape(-1, 2, 3).unbind(2)),
    "tensor_split": lambda h: torch.cat(h.tensor_split(4, 1)[::2], 1),
    "upsample": lambda h: F.interpolate(h.reshape(-1, 1, 2, 3), scale_factor=(2, 3)).flatten(1),
    "upsample to a size": lambda h: F.interpolate(h.reshape(-1, 2, 3), size=9).flatten(1),
    "upsample exactly": lambda h: F.interpolate(
        h.reshape(-1, 1, 2, 3), scale_factor=2, mode="nearest-exact"
    ).flatten(1),
    "channel shuffle": lambda h: F.channel_shuffle(h.reshape(-1, 6, 1, 1), 3).flatten(1),
    "pixel shuffle": lambda h: F.pixel_shuffle(
        torch.cat([h, -h], 1).reshape(-1, 4, 1, 3), 2
    ).flatten(1),
}  # fmt: skip

FUNCTIONS = {
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "silu": nn.SiLU(),
    "gelu": nn.GELU(),
    "gelu, tanh": nn.GELU(approximate="tanh"),
    "hardsigmoid": nn.Hardsigmoid(),
    "hardswish": nn.Hardswish(),
    "leaky ReLU": nn.LeakyReLU(0.2),
    "PReLU": nn.PReLU(),
    "ELU": nn.ELU(0.5),
    "softplus": nn.Softplus(),
    "exp": Spelled(torch.exp),
    "abs": Spelled(torch.abs),
}


@pytest.mark.few(1)
@pytest.mark.parametrize("name", slow_but(["leaky ReLU", "ELU", "softplus"], FUNCTIONS))
def test_functions(name: str) -> None:
    graph = assert_same(nn.Sequential(nn.Linear(6, 6), FUNCTIONS[name]), 4 * images(5, 6))
    assert [type(n.op) for n in graph.nodes] == [Linear, Unary]


TRANSPOSED = {
    "stride": nn.ConvTranspose2d(4, 3, 2, stride=2),
    "everything": nn.ConvTranspose2d(
        4, 6, 3, stride=(2, 3), padding=1, output_padding=(1, 2), groups=2, dilation=(1, 2)
    ),
    "depthwise": nn.ConvTranspose2d(4, 4, 3, groups=4, bias=False),
    "cropped": nn.ConvTranspose2d(4, 2, 2, stride=3, padding=2, output_padding=1),
    "one axis": nn.Sequential(
        nn.Flatten(2), nn.ConvTranspose1d(4, 3, 3, stride=2, padding=1, output_padding=1)
    ),
}


@pytest.mark.few(1)
@pytest.mark.parametrize("name", TRANSPOSED)
def test_transposed_convolutions(name: str) -> None:
    assert_same(TRANSPOSED[name], images(3, 4, 4, 3))


def test_padding_before_a_convolution_is_its_own() -> None:
    block = nn.Sequential(nn.ZeroPad2d((1, 0, 2, 0)), nn.Conv2d(1, 2, 2))
    graph = assert_same(block, images(3, 1, 4, 4))
    assert [n.op for n in graph.nodes] == [Conv2d(padding=(2, 1, 0, 0))]


def test_decomposed_programs() -> None:
    """The core aten ops that torch.export's own decompositions leave."""
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Hardswish(),
        nn.ConvTranspose2d(4, 2, 2), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(2, 3), nn.GELU(),
    )  # fmt: skip
    randomise_batch_norm(net)
    net.eval()
    x = images(3, 2, 8, 8)
    with quiet_torch(), torch.no_grad():
        dims = ({0: torch.export.Dim.AUTO},)
        program = torch.export.export(net, (x,), dynamic_shapes=dims, strict=False)
        program = program.run_decompositions()
        expected = net(x).numpy()
    np.testing.assert_allclose(outputs_of(convert(program), x)[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.sample(30)
@pytest.mark.few(4)
@pytest.mark.parametrize("op", ONE_LAYER)
def test_one_layer(op: str) -> None:
    torch.manual_seed(2)
    assert_same(nn.Sequential(nn.Linear(6, 6), Spelled(ONE_LAYER[op])), images(5, 6))


UNSUPPORTED = {
    "unknown op": (
        Spelled(lambda h: torch.block_diag(h, h)[: len(h), :6]),
        r"^layer \(.*'block_diag' is not supported; replace",
    ),
    "one row": (Spelled(lambda h: h * h[:1]), r"takes some rows of the batch only"),
    "over the batch": (Spelled(lambda h: h - h.mean(0)), r"over the axes \[0\], of which 0 is"),
    "batch transposed": (Spelled(lambda h: h.t().reshape(-1, 6)), r"rows of the batch are mixed"),
    "batch split": (
        Spelled(lambda h: h.unbind()[0].expand(2, 6)),
        r"takes the batch apart|rows of the batch",
    ),
    "sampled by a grid": (
        Spelled(
            lambda h: F.grid_sample(
                h.reshape(-1, 1, 2, 3), torch.zeros_like(h).reshape(-1, 1, 3, 2),
                align_corners=False,
            ).repeat(1, 1, 1, 2).flatten(1)
        ),
        r"grid_sampler: samples an image at places that are computed, which is not supported; "
        r"resize by",
    ),
    "rows mixed": (Spelled(lambda h: h.reshape(-1, 2, 6).mean(1)), r"rows of the batch"),
    "rounded": (Spelled(lambda h: h.int().float()), r"casts activations to torch.int32"),
    "batch statistics": (nn.BatchNorm1d(6, track_running_stats=False), r"^layer: batch norm"),
}  # fmt: skip


@pytest.mark.few(1)
@pytest.mark.parametrize("case", UNSUPPORTED)
def test_errors_begin_with_the_place(case: str) -> None:
    layer, message = UNSUPPORTED[case]
    with pytest.raises(CompileError, match=message) as error:
        read_module(Around(layer).eval(), images(2, 6))
    assert str(error.value).startswith("layer")


def test_a_batch_that_is_joined_is_not_supported() -> None:
    with pytest.raises(CompileError, match=r"^Around: .*joined along the batch"):
        read_module(Around(Spelled(lambda h: torch.cat([h, h]))).eval(), images(2, 6))
