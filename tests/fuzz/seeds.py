"""Honest models that mutations start from: small, and together every op and form of the runtime.

All are made by our own compiler, or by hand where a form of a kernel asks for a geometry.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Conv2dInteger, RandomOp
from qbnnc.passes.options import Bits, MaskSharing, Quantisation, Rounding, WeightScheme
from qbnnc.passes.pipeline import Options, quantise_model, simulate_model
from qbnnc.passes.ranges.calibrate import Calibration
from tests.graphs import FAMILIES, inputs, lenet, mlp
from tests.runtime import nets
from tests.runtime.draws import drop_connect, last_layer_chosen, noisy
from tests.runtime.nets import Net, codes
from tests.runtime.sampled import BayesNet
from tests.sharing import with_common_trunk
from tests.strategies import Ops, random_integer_model
from tests.tokens import RandomIds, integer_model, rows_of

_SAME = Conv2dInteger(padding=(1, 1, 1, 1))

OF_RANDOM_OPS: tuple[tuple[int, Ops], ...] = (
    (1, "products"),  # a product of matrices, and a softmax
    (3, "products"),  # a normalisation
    (3, "parts"),  # a softmax of several inputs
    (9, "all"),  # an unpooling
)


def models() -> tuple[Model, ...]:
    """Models of all stages, the same in every process."""
    return (*compiled(), *by_hand(), *uncompiled())


def compiled() -> Iterator[Model]:
    """INTEGER: each family of networks at two widths, and ensembles."""
    for number, make in enumerate(FAMILIES.values()):
        for width in ("w8a7", "w4a4"):
            scheme = list(WeightScheme)[number % len(WeightScheme)]
            yield quantise(Model((make(),), Head(Task.RAW)), width, scheme)
    yield quantise(Model((mlp(0), mlp(1)), Head(Task.REGRESSION)), "w8a8")
    yield quantise(
        Model((FAMILIES["bayesian mlp"](0), FAMILIES["bayesian mlp"](1)), Head(Task.RAW))
    )
    shared = Quantisation(Bits(8, 7), mask_sharing=MaskSharing.BATCH, outputs=True)
    yield quantise_model(
        Model((lenet(),), Head(Task.RAW)), inputs(lenet(), 16), _options(shared, 2)
    )
    yield with_common_trunk(3, None)
    yield with_common_trunk(2, 0.2, "w4a4")
    yield integer_model(2)
    yield integer_model(5, members=2)


def by_hand() -> Iterator[Model]:
    """INTEGER: LeNet-5, and geometries that have a kernel of their own."""
    yield nets.lenet()
    yield nets.resnet()
    yield Model((nets.mlp(1).graph, nets.mlp(2).graph), Head(Task.REGRESSION), 2)
    yield _chain(Net((3, 9, 11)), (16, 3, _SAME), (32, 3, _SAME))  # Winograd's, with AVX2
    yield _chain(Net((17, 7, 7)), (17, 3, replace(_SAME, groups=17)), (9, 1, Conv2dInteger()))
    yield _chain(Net((2, 6, 9)), (5, 2, Conv2dInteger((3, 2), (4, 0, 1, 5), (2, 3))))
    yield _chain(Net((4, 8, 8)), (8, 3, replace(_SAME, groups=2)), (3, 5, Conv2dInteger()))
    net = BayesNet((4, 6, 6))
    net.bayes_conv(8, 3, _SAME)
    net.observed()
    net.dropout(0.3, 8, 1, 1, shared=True)
    net.flatten()
    net.bayes_linear(17)
    yield net.model(task=Task.CLASSIFICATION, draws=2)
    for make in (last_layer_chosen, drop_connect, noisy):
        yield make(draws=2)
    for seed, ops in OF_RANDOM_OPS:
        yield random_integer_model(seed, ops=ops)


def uncompiled() -> Iterator[Model]:
    """SIMULATED and FLOAT, with the rows that they would be compiled with."""
    for name in ("bayesian lenet", "squeeze excite", "unet", "elementwise"):
        graph = FAMILIES[name]()
        model = Model((graph,), Head(Task.RAW), calibration=inputs(graph, 12))
        yield model
        how = Quantisation(Bits(8, 7), rounding=Rounding.NEAREST)
        yield simulate_model(model, inputs(graph, 12), _options(how, _draws(graph)))
    yield Model((mlp(0), mlp(1)), Head(Task.REGRESSION), calibration=inputs(mlp(0), 12))
    ids = RandomIds(3).graph()
    yield Model((ids,), Head(Task.RAW), calibration=rows_of(ids, 12))


def quantise(
    model: Model, width: str = "w8a7", scheme: WeightScheme = WeightScheme.CHANNEL_SYMMETRIC
) -> Model:
    """Compiled with the least calibration, rounding to nearest: fast, and small."""
    how = Quantisation(Bits.parse(width), scheme, rounding=Rounding.NEAREST)
    return quantise_model(model, inputs(model.graph, 16), _options(how, _draws(model.graph)))


def _options(how: Quantisation, draws: int | None) -> Options:
    return Options(how, draws, calibration=Calibration(passes=1))


def _draws(graph: Graph) -> int | None:
    return 2 if any(isinstance(node.op, RandomOp) for node in graph.nodes) else None


def _chain(net: Net, *layers: tuple[int, int, Conv2dInteger]) -> Model:
    """Convolutions (filters, kernel, op) after a mask, each requantised."""
    net.dropout(0.2)
    for filters, kernel, op in layers:
        net.conv(filters, kernel, op)
        net.requantize(codes(0.3, 31))
    return net.model(draws=2)
