"""The whole pipeline: heads, samples, data that does not fit, and one result for one input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from qbnnc.ir import format
from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Softmax
from qbnnc.ir.text import graph_text
from qbnnc.ir.types import Stage
from qbnnc.passes.base import Pipeline
from qbnnc.passes.fusion.fold_affine import FoldAffine
from qbnnc.passes.fusion.fuse_clamps import FuseClamps
from qbnnc.passes.pipeline import PASS_NAMES, Options, Watch, pipeline, quantise_model, relabel
from qbnnc.passes.ranges.calibrate import Calibration
from qbnnc.support.errors import CompileError, InputError, UserError
from tests.graphs import inputs, lenet, mlp
from tests.net import Net

QUICK = Options(calibration=Calibration(passes=1))


def compiled(graph: Graph, options: Options = QUICK, rows: int = 8) -> Model:
    return quantise_model(Model((graph,), Head(Task.RAW)), inputs(graph, rows), options)


def classifier(log: bool) -> Graph:
    return Net((6,)).linear(4, "fc").emit(Softmax(0, log), name="softmax").graph()


@pytest.mark.parametrize("log", [True, False])
def test_a_softmax_at_the_end_makes_a_classifier_of_logits(log: bool) -> None:
    model = compiled(classifier(log))
    assert model.head.task is Task.CLASSIFICATION
    assert [n.op.name for n in model.graph.nodes] == [
        "quantize_input",
        "linear_integer",
        "dequantize",
    ]


def test_a_softmax_inside_becomes_integers() -> None:
    graph = Net((6,)).linear(4, "fc").emit(Softmax(0, False), name="attention").linear(2, "out")
    model = compiled(graph.graph())
    assert model.head.task is Task.RAW
    assert "softmax_integer" in [n.op.name for n in model.graph.nodes]


def test_a_log_softmax_inside_is_refused() -> None:
    graph = Net((6,)).linear(4, "fc").emit(Softmax(0, True), name="attention").linear(2, "out")
    with pytest.raises(CompileError, match=r"attention .*: only a log_softmax over the classes"):
        compiled(graph.graph())


@pytest.mark.parametrize(("axis", "moves"), [(1, 2), (2, 0)])
def test_a_softmax_over_another_axis_turns_it(axis: int, moves: int) -> None:
    net = Net((3, 4, 4)).conv(2, 3, "conv").emit(Softmax(axis, False), name="softmax")
    names = [n.op.name for n in compiled(net.graph()).graph.nodes]
    assert names.count("softmax_integer") == 1
    assert names.count("transpose") == moves


def test_a_softmax_beside_another_output_leaves_as_its_codes() -> None:
    net = Net((6,)).linear(4, "fc")
    logits = net.value
    graph = net.graph(net.emit(Softmax(0, False), name="softmax").value, logits)
    model = compiled(graph)
    assert [n.op.name for n in model.graph.nodes].count("softmax_integer") == 1
    assert len(model.graph.outputs) == 2


def test_a_softmax_is_a_classifiers() -> None:
    with pytest.raises(UserError, match="`task` raw: the network ends in softmax"):
        compiled(classifier(False), replace(QUICK, task=Task.RAW))


def test_samples_default_to_20_and_to_1_where_nothing_is_random() -> None:
    assert compiled(mlp()).samples == 20
    assert compiled(mlp(p=None)).samples == 1
    assert compiled(mlp(), replace(QUICK, samples=7)).samples == 7
    with pytest.raises(UserError, match="nothing in this network is random"):
        compiled(mlp(p=None), replace(QUICK, samples=20))


def test_a_task_that_does_not_fit_the_outputs_is_refused() -> None:
    with pytest.raises(UserError, match="task classification needs one output"):
        compiled(mlp(), replace(QUICK, task=Task.CLASSIFICATION))


def test_compiling_twice_gives_the_same_bytes() -> None:
    assert format.to_bytes(compiled(lenet())) == format.to_bytes(compiled(lenet()))


def test_the_names_that_users_know() -> None:
    assert PASS_NAMES == (
        "cut-softmax",
        "share-masks",
        "recognise-norms",
        "scale-softmax",
        "spread-interpolations",
        "split-layers",
        "fold-affine",
        "fuse-clamps",
        "fuse-elementwise",
        "fold-dropout-scale",
        "carry-states",
        "equalise-channels",
        "insert-fake-quantize",
        "fit-layers",
        "quantize",
        "fold-zero-points",
        "prove-overflow",
    )


def test_a_part_is_a_pipeline() -> None:
    whole = pipeline()
    assert whole.before("fold-affine").names == PASS_NAMES[:6]
    assert whole.since("quantize").names == PASS_NAMES[14:]
    assert whole.since("fold-affine").before("fuse-elementwise").names == PASS_NAMES[6:8]
    assert whole.only("quantize", "share-masks").names == ("quantize", "share-masks")
    assert whole.before("cut-softmax").names == whole.only().names == ()


def test_parts_one_after_another_give_what_the_whole_gives() -> None:
    graph, seen = lenet(), list[str]()
    whole = pipeline(rows=inputs(graph, 8))
    for name in PASS_NAMES:
        graph = whole.only(name)(graph, lambda each, _: seen.append(each))
    assert graph_text(graph, whole=True) == graph_text(whole(lenet()), whole=True)
    assert tuple(seen) == PASS_NAMES


@pytest.mark.parametrize("part", [Pipeline.before, Pipeline.since, Pipeline.only])
def test_an_unknown_pass_is_told_with_the_known_ones(
    part: Callable[[Pipeline, str], Pipeline],
) -> None:
    known = Pipeline((FoldAffine(), FuseClamps()))
    with pytest.raises(UserError) as raised:
        part(known, "fold-afine")
    assert str(raised.value) == (
        "there is no pass 'fold-afine'; the passes are fold-affine, fuse-clamps"
    )


def test_a_graph_is_checked_before_the_first_pass_and_after_each() -> None:
    """A pass that gives a graph of the wrong level is caught at once."""
    broken = replace(mlp(), stage=Stage.INTEGER)

    @dataclass(frozen=True)
    class Breaks:
        name: str = "breaks"

        def __call__(self, graph: Graph, /) -> Graph:
            return broken

    for passes, graph in (((), broken), ((Breaks(),), mlp())):
        with pytest.raises(CompileError, match="may not appear in a graph of stage INTEGER"):
            Pipeline(passes)(graph)


def test_passes_are_shown_by_the_names_the_command_line_knows() -> None:
    seen: list[str] = []
    watch = Watch(graph=lambda name, graph: seen.append(name))
    quantise_model(Model((mlp(),), Head(Task.RAW)), inputs(mlp()), QUICK, watch=watch)
    assert tuple(seen) == PASS_NAMES


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((0, 10)), "no rows"),
        (np.zeros((4, 9)), r"the calibration data: the shape is \[4, 9\]"),
        (np.full((4, 10), np.nan), "the calibration data: NaN in row 0"),
        (np.full((4, 10), np.inf), "infinity"),
    ],
)
def test_calibration_data_that_is_refused(rows: NDArray[np.float64], message: str) -> None:
    with pytest.raises(InputError, match=message):
        quantise_model(Model((mlp(),), Head(Task.RAW)), rows.astype(np.float32), QUICK)


def test_an_integer_model_is_not_quantised_again() -> None:
    model = compiled(mlp())
    with pytest.raises(UserError, match="INTEGER already"):
        quantise_model(model, inputs(mlp()), QUICK)
    other = relabel(model, Options(samples=3, task=Task.REGRESSION))
    assert (other.samples, other.head.task, other.stage) == (3, Task.REGRESSION, Stage.INTEGER)


def test_an_ensemble_has_scales_of_its_own_for_each_member() -> None:
    members = Model((mlp(0), mlp(1)), Head(Task.REGRESSION))
    model = quantise_model(members, inputs(mlp()), replace(QUICK, samples=3))
    assert model.samples == 6
    first, second = (m.nodes[1].output.type.quant for m in model.members)
    assert first != second
