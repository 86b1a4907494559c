"""Small INTEGER networks, each with one way to draw something: noise, a choice, or a mask."""

from __future__ import annotations

from qbnnc.ir.graph import Value
from qbnnc.ir.model import Model
from qbnnc.ir.ops import (
    Concat,
    Conv2dInteger,
    Gather,
    LinearInteger,
    MaxPool2d,
    Reshape,
    Select,
    Slice,
    Transpose,
)
from tests.integer_net import IntegerNet

PADDED = Conv2dInteger(padding=(1, 1, 1, 1))
IMAGE = (3, 4, 3)
EVERY_CODE = tuple(range(250, 65500, 256))  # 255 thresholds
ENDS = (
    (0, 0, 0, 0),
    (65536, 65536, 65536, 65536),
    (0, 65535, 65535, 65536),
    (1, 1, 65535, 65535),
    (0, 20000, 20000, 40000),
    (9000, 9001, 50000, 65536),
)


def noise_of_every_code() -> Model:
    """Each row has its own; 255 thresholds are as many as there can be."""
    net = IntegerNet((7,))
    return net.times(net.noise(EVERY_CODE, (7,), shared=False, inverted=False)).model()


def noise_on_an_image() -> Model:
    """Shared by the rows and falling; lanes are not in the order of the codes in memory."""
    net = IntegerNet(IMAGE)
    return net.times(net.noise((9000, 30000, 60001), IMAGE, shared=True, inverted=True)).model()


def noise_of_channels() -> Model:
    net = IntegerNet(IMAGE)
    return net.times(net.noise(EVERY_CODE, (3, 1, 1), shared=False, inverted=True)).model()


def noise_at_the_ends() -> Model:
    """Codes that all lanes have, that none has, and that one has; thresholds that are equal."""
    net = IntegerNet((36,))
    parts = [
        net.noise(thresholds, (6,), shared=False, inverted=number % 2 > 0)
        for number, thresholds in enumerate(ENDS)
    ]
    return net.times(net.emit(Concat(0), *parts)).model()


def choice_of_images() -> Model:
    """The same image for all rows, and one of each row's own; dropout on the chosen one."""
    net = IntegerNet(IMAGE)
    first = net.choice(net.codes((4, *IMAGE)))
    net.times(first).times(net.choice(net.codes((300, *IMAGE)), net.index(300, shared=False)))
    second = net.choice(net.codes((4, *IMAGE)))
    return net.times(net.emit(Select(), second, net.keep((3, 1, 1)))).model()


def choice_of_vectors() -> Model:
    """Members of 2-dimensional values; one index of two choices, of which one is reshaped."""
    net = IntegerNet((6, 5))
    index = net.index(3, shared=False)
    net.times(net.choice(net.codes((3, 6, 5)), index))
    flat = net.choice(net.codes((3, 30)), index)
    return net.times(net.emit(Reshape((6, 5)), flat)).model()


def chosen_weights() -> Model:
    """The bias is constant, chosen alike, chosen apart, or under a mask."""
    net = IntegerNet((11,))
    weight = net.choice(net.weight((9, 11), 3))
    net.layer(weight, net.bias(weight))
    index = net.index(4)
    weight = net.choice(net.weight((5, 9), 4, affine=True), index)
    net.layer(weight, net.choice(net.bias(weight, 4), index))
    weight = net.choice(net.weight((6, 5), 3))
    net.layer(weight, net.choice(net.bias(weight, 7)))
    weight = net.choice(net.weight((6, 6), 2))
    net.layer(weight, net.dropped(net.bias(weight)))
    weight = net.weight((6, 6))
    return net.layer(weight, net.choice(net.bias(weight, 5))).model()


def chosen_by_columns() -> Model:
    """Many outputs behind a ReLU; inputs are an image in memory."""
    net = IntegerNet(IMAGE)
    weight = net.choice(net.weight((3, 3, 3, 3), 2))
    net.layer(weight, net.bias(weight), PADDED).flatten()
    weight = net.choice(net.weight((9, 36), 3))
    net.layer(weight, net.bias(weight))
    weight = net.choice(net.weight((17, 9), 3))
    return net.layer(weight, net.bias(weight)).model()


def chosen_filters() -> Model:
    """Padding, groups, single channels, maxima, and zero points."""
    net = IntegerNet((4, 7, 6))
    weight = net.choice(net.weight((5, 4, 3, 3), 3, affine=True))
    net.layer(weight, net.bias(weight), PADDED)
    net.value = net.emit(MaxPool2d((2, 2), (2, 2)), net.value)
    weight = net.choice(net.weight((5, 1, 3, 2), 4, affine=True))
    net.layer(weight, net.bias(weight), Conv2dInteger(padding=(1, 1, 1, 1), groups=5))
    weight = net.choice(net.weight((10, 1, 1, 2), 2))
    op = Conv2dInteger((1, 2), (0, 2, 0, 1), groups=5)
    return _summed(net.layer(weight, net.choice(net.bias(weight, 3)), op)).model()


def dropped_weights() -> Model:
    """Of a layer, with zero points of weights and codes; masks of elements and of outputs."""
    net = IntegerNet((13,))
    weight = net.dropped(net.weight((9, 13), affine=True))
    net.layer(weight, net.bias(weight))
    weight = net.weight((6, 9))
    net.layer(net.dropped(weight, net.keep((6, 1))), net.dropped(net.bias(weight)))
    weight = net.weight((6, 6))
    net.layer(net.dropped(weight, net.keep((6, 6), inverted=True)), net.bias(weight))
    weight = net.dropped(net.weight((5, 6)), net.keep((1, 6)))
    bias = net.dropped(net.bias(weight), net.keep((5,)))
    return net.layer(weight, bias).model()


def dropped_filters() -> Model:
    """Padding, groups, dilation, single channels and maxima."""
    net = IntegerNet((4, 7, 6))
    weight = net.dropped(net.weight((5, 4, 3, 3), affine=True))
    net.layer(weight, net.bias(weight), PADDED)
    net.value = net.emit(MaxPool2d((2, 2), (2, 2)), net.value)
    weight = net.dropped(net.weight((5, 1, 3, 2)))
    net.layer(weight, net.bias(weight), Conv2dInteger(padding=(1, 1, 1, 1), groups=5))
    weight = net.weight((6, 5, 2, 2))
    op = Conv2dInteger(padding=(2, 0, 1, 1), dilation=(2, 1))
    net.layer(net.dropped(weight, net.keep((1, 5, 2, 1))), net.bias(weight), op)
    return _summed(net).model()


def dropped_choices() -> Model:
    """A mask on one of several weights, linear and of filters, and on one of several biases."""
    net = IntegerNet(IMAGE)
    weight = net.dropped(net.choice(net.weight((4, 3, 2, 2), 3, affine=True)))
    net.layer(weight, net.dropped(net.choice(net.bias(weight, 3))), PADDED).flatten()
    size = net.value.type.shape[0]
    weight = net.dropped(net.choice(net.weight((5, size), 3)))
    return net.layer(weight, net.choice(net.bias(weight, 2))).model()


def masks_that_move() -> Model:
    """Lanes in another order: by strides where there are any, else from memory."""
    net = IntegerNet((8,))
    weight = net.weight((6, 8))
    net.layer(net.dropped(weight, _transposed(net, net.keep((8, 6)))), net.bias(weight))
    weight = net.weight((5, 6))
    part = net.emit(Slice(1, 3, 99, 2), net.keep((5, 15)))
    net.layer(net.dropped(weight, part), net.bias(weight))
    weight = net.weight((7, 5))
    mixed = net.emit(Gather(0, (3, 1, 1, 6, 0, 2, 5)), net.keep((7, 5)))
    net.layer(net.dropped(weight, mixed), net.bias(weight))
    return net.model()


def masks_of_filters_that_move() -> Model:
    net = IntegerNet(IMAGE)
    weight, keep = net.weight((4, 3, 2, 3)), net.keep((2, 3, 4, 3))
    order = net.emit(Transpose((2, 1, 0, 3)), keep)
    net.layer(net.dropped(weight, order), net.bias(weight), PADDED)
    weight, keep = net.weight((3, 4, 2, 2)), net.keep((3, 4, 2, 2))
    mixed = net.emit(Gather(2, (1, 1)), keep)
    net.layer(net.dropped(weight, mixed), net.bias(weight), PADDED)
    return _summed(net).model()


def a_mask_of_two() -> Model:
    """A mask drops elements of a value too, so that a step draws it as well."""
    net = IntegerNet((6, 6))
    keep = net.keep((6, 6))
    net.value = net.emit(Select(), net.value, keep)
    net.value = net.emit(Slice(0, 0, 1), net.value)
    net.flatten()
    weight = net.weight((6, 6))
    return net.layer(net.dropped(weight, keep), net.bias(weight)).model()


def folded_terms() -> Model:
    """The biases hold the terms of equation (2) that depend on constants."""
    net = IntegerNet((6,))
    weight = net.choice(net.weight((5, 6), 3))
    net.layer(weight, net.bias(weight), LinearInteger(folded=True))
    weight = net.dropped(net.weight((7, 5)))
    net.layer(weight, net.bias(weight), LinearInteger(folded=True))
    return net.model()


def _summed(net: IntegerNet) -> IntegerNet:
    """Few outputs of an image: the smallest board has memory for them."""
    net.flatten()
    weight = net.weight((12, net.value.type.shape[0]))
    return net.layer(weight, net.bias(weight))


def _transposed(net: IntegerNet, keep: Value) -> Value:
    return net.emit(Transpose((1, 0)), keep)


NETS = {
    make.__name__: make
    for make in (
        noise_of_every_code,
        noise_on_an_image,
        noise_of_channels,
        noise_at_the_ends,
        choice_of_images,
        choice_of_vectors,
        chosen_weights,
        chosen_by_columns,
        chosen_filters,
        dropped_weights,
        dropped_filters,
        dropped_choices,
        masks_that_move,
        masks_of_filters_that_move,
        a_mask_of_two,
        folded_terms,
    )
}
