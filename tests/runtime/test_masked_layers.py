"""Layers under a dropout mask: every form gives the oracle's bits, and is the form asked for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.ir.model import Model
from qbnnc.ir.ops import (
    ClampCodes,
    Conv2dInteger,
    Dequantize,
    LinearInteger,
    Lookup,
    MaxPool2d,
    Requantize,
    SumPoolInteger,
)
from qbnnc.runtime.families.masked_layers.forms import MaskedForm
from qbnnc.runtime.session import Session
from tests.examples import examples
from tests.runtime.masked import (
    PROBABILITIES,
    Mask,
    assert_forms_equal,
    drop,
    finished,
    kinds,
    masked_conv,
    masked_linear,
    start,
)
from tests.runtime.nets import Net, codes, images, lenet, mlp
from tests.strategies import input_batch, integer_models

OF_FORM = {MaskedForm.TABLE: "masked_sums", MaskedForm.RECOMPUTE: "masked_products"}
masks = st.builds(
    Mask,
    p=st.sampled_from(PROBABILITIES),
    shared=st.booleans(),
    inverted=st.booleans(),
    stream=st.sampled_from((0, 7, 2**32 - 1)),
)
paddings = st.sampled_from(((0, 0, 0, 0), (1, 1, 1, 1), (0, 2, 1, 0), (3, 0, 0, 4)))
ends = st.sampled_from(("codes", "output", "both"))


@given(
    shape=st.tuples(st.integers(1, 19), st.integers(3, 7), st.integers(3, 7)),
    filters=st.integers(1, 40),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.sampled_from(((1, 1), (2, 1), (2, 3))),
    padding=paddings,
    mask=masks,
    zero=st.sampled_from((0, 9, 127)),
    affine=st.sampled_from((0, 0, 3)),
    end=ends,
    rows=st.integers(1, 6),
    samples=st.integers(1, 20),
)
@examples(60)
def test_convolutions(
    shape: tuple[int, int, int],
    filters: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    mask: Mask,
    zero: int,
    affine: int,
    end: str,
    rows: int,
    samples: int,
) -> None:
    op = Conv2dInteger(stride, padding)
    model = masked_conv(shape, filters, kernel, op, mask, zero, affine, filters, end)
    assert_forms_equal(model, images(model, rows), samples, first_row=2**64 - 2)


@pytest.mark.parametrize("dilation", [(1, 2), (2, 1), (2, 2)])
@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("p", [0.2, 0.7])
def test_dilations_and_folded_biases(dilation: tuple[int, int], fold: bool, p: float) -> None:
    op = Conv2dInteger((1, 2), (2, 1, 0, 3), dilation, folded=fold)
    model = masked_conv((4, 7, 6), 18, (3, 3), op, Mask(p))
    assert_forms_equal(model, images(model, 3), 4)
    for form, name in OF_FORM.items():
        assert name in kinds(Session(model, masked=form))


@given(
    features=st.integers(1, 150),
    outputs=st.integers(1, 150),
    mask=masks,
    zero=st.sampled_from((0, 9, 127)),
    affine=st.sampled_from((0, 0, 3)),
    end=ends,
    rows=st.integers(1, 40),
    samples=st.integers(1, 20),
)
@examples(60)
def test_linear_layers(
    features: int,
    outputs: int,
    mask: Mask,
    zero: int,
    affine: int,
    end: str,
    rows: int,
    samples: int,
) -> None:
    model = masked_linear(features, outputs, mask, zero, affine, outputs, end)
    assert_forms_equal(model, images(model, rows), samples, block_bytes=4000)


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 4)),
    by_channel=st.booleans(),
    mask=masks,
    end=ends,
)
@examples(40)
def test_masks_in_front_of_a_flattened_image(
    shape: tuple[int, int, int], by_channel: bool, mask: Mask, end: str
) -> None:
    net = start(shape, 9, 1)
    drop(net, mask, *((shape[0], 1, 1) if by_channel else shape))
    net.flatten()
    model = finished(net, net.linear(21), end)
    assert_forms_equal(model, images(model, 3), 3, batch_size=2)
    for form, name in OF_FORM.items():
        assert kinds(Session(model, masked=form)).count(name) == 1
        assert "select" not in kinds(Session(model, masked=form))


@pytest.mark.parametrize("p", [0.3, 0.6])
def test_elements_of_an_image_that_a_convolution_covers(p: float) -> None:
    net = start((5, 3, 4), 9, 1)
    drop(net, Mask(p))
    net.accumulators(Conv2dInteger((2, 2)), net.weight(11, 5, 3, 4))
    model = net.model()
    assert_forms_equal(model, images(model, 3), 3)
    assert "masked_sums" in kinds(Session(model, masked=MaskedForm.TABLE))


@pytest.mark.parametrize("p", [0.3, 0.6])
def test_ops_that_keep_zeros_apart(p: float) -> None:
    """Max pools, average pools, clamps and tables between the mask and the layer."""
    net = start((6, 8, 8), 9, 1)
    drop(net, Mask(p), 6, 1, 1)
    net.emit(MaxPool2d((3, 3), (2, 2), (1, 1, 1, 1)))
    net.emit(ClampCodes(4, 90))
    table = np.random.default_rng(0).integers(0, 128, 128).astype(np.uint8)
    table[9] = 30
    net.emit(Lookup(codes(0.05, 30)), net.value, net.constant(table))
    acc = net.emit(SumPoolInteger((2, 2), (1, 1), (1, 0, 0, 1)))
    factor = np.full((1, 1, 1), 0.21, np.float32)
    net.emit(Requantize(codes(0.06, 12), 12, 127), acc, net.constant(factor))
    net.flatten()
    net.linear(9)
    model = net.model()
    assert_forms_equal(model, images(model, 4), 5)
    for form, name in OF_FORM.items():
        made = kinds(Session(model, masked=form))
        assert name in made
        assert not {"select", "keep_mask"} & {*made}
        assert made.index("max_pool") < made.index("lookup") < made.index("sum_pool")


def pooled(net: Net) -> None:
    net.emit(MaxPool2d((2, 2), (2, 2)))


def clamped_above_zero(net: Net) -> None:
    net.emit(ClampCodes(10, 90))


def clamped_below_zero(net: Net) -> None:
    net.emit(ClampCodes(0, 8))


def with_another_zero(net: Net) -> None:
    table = np.full(128, 3, np.uint8)
    net.emit(Lookup(codes(0.05, 30)), net.value, net.constant(table))


@pytest.mark.parametrize("between", [clamped_above_zero, clamped_below_zero, with_another_zero])
def test_ops_that_move_zeros(between: Callable[[Net], None]) -> None:
    net = start((6, 4, 4), 9, 1)
    drop(net, Mask(), 6, 1, 1)
    between(net)
    net.conv(5, 3)
    model = net.model()
    assert_forms_equal(model, images(model, 4), 5)
    assert "masked_sums" not in kinds(Session(model, masked=MaskedForm.TABLE))


@pytest.mark.parametrize(
    ("mask", "between"),
    [((6, 4, 4), pooled), ((1, 4, 4), None), ((6, 4, 1), None), ((1, 1, 1), None)],
)
def test_masks_of_other_parts(mask: tuple[int, ...], between: Callable[[Net], None] | None) -> None:
    """Elements in front of a pool, lines and whole images are computed directly."""
    net = start((6, 4, 4), 9, 1)
    drop(net, Mask(), *mask)
    if between is not None:
        between(net)
    net.conv(5, 2)
    model = net.model()
    assert_forms_equal(model, images(model, 4), 5)
    for form, name in OF_FORM.items():
        assert name not in kinds(Session(model, masked=form))


def test_groups_and_affine_weights() -> None:
    """Groups are computed directly; weights with zero points have no recomputed form."""
    grouped = masked_conv((4, 5, 5), 8, (3, 3), Conv2dInteger(groups=2))
    affine = masked_conv(affine=3)
    for model in (grouped, affine):
        assert_forms_equal(model, images(model, 4), 5)
    assert "convolve" in kinds(Session(grouped, masked=MaskedForm.TABLE))
    assert "masked_sums" not in kinds(Session(grouped, masked=MaskedForm.TABLE))
    assert "masked_sums" in kinds(Session(affine, masked=MaskedForm.TABLE))
    assert "masked_products" not in kinds(Session(affine, masked=MaskedForm.RECOMPUTE))


def test_codes_of_eight_bits() -> None:
    net = start((5, 6, 6), 130, 1, bits=8)
    drop(net, Mask(), 5, 1, 1)
    net.conv(9, 3)
    model = net.model()
    assert_forms_equal(model, images(model, 4), 5)


def test_a_masked_value_with_other_readers() -> None:
    """The codes are dropped for the others; two layers may share a mask."""
    net = start((30,), 9, 1)
    x = drop(net, Mask())
    outputs = []
    for width in (7, 20):
        net.value = x
        net.linear(width)
        outputs.append(net.emit(Dequantize()))
    both = net.model(*outputs)
    assert_forms_equal(both, images(both, 4), 5)
    made = kinds(Session(both, masked=MaskedForm.TABLE))
    assert made.count("masked_sums") == 2
    assert not {"select", "drop"} & {*made}
    net.value = x
    net.emit(ClampCodes(3, 50))
    also = net.model(outputs[0], net.emit(Dequantize()))
    assert_forms_equal(also, images(also, 4), 5)
    made = kinds(Session(also, masked=MaskedForm.TABLE))
    assert {"masked_sums", "drop"} <= {*made}


def test_values_of_two_axes() -> None:
    net = start((4, 6), 9, 1)
    drop(net, Mask())
    net.flatten()
    net.accumulators(LinearInteger(), net.weight(5, 24))
    model = net.model()
    assert_forms_equal(model, images(model, 4), 3)


@given(integer_models(), st.sampled_from((1, 2, 7)), st.integers(1, 2))
@examples(50)
def test_random_models(model: Model, rows: int, threads: int) -> None:
    samples = 3 if model.stochastic else 1
    x = input_batch(model, rows)
    assert_forms_equal(model, x, samples, batch_size=2, threads=threads)


@given(integer_models(ops="all", members=2) | integer_models(ops="draws", members=2))
@examples(25)
def test_random_ensembles_of_all_ops(model: Model) -> None:
    samples = 6 if model.stochastic else 2
    assert_forms_equal(model, input_batch(model, 4), samples, batch_size=3)


@pytest.mark.parametrize("form", list(MaskedForm))
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_whole_networks(form: MaskedForm, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qbnnc.runtime.threads.WORTH", 1.0)
    for make in (lenet, mlp):
        for p in (0.2, 0.8):
            model = make(p=p)
            assert_forms_equal(model, images(model, 33), 6, (form,), threads=threads)
            assert (OF_FORM.get(form) in kinds(Session(model, masked=form))) is (
                form is not MaskedForm.DIRECT
            )
