"""Assign a model its head: the meaning of its outputs, by the task and by their names."""

from __future__ import annotations

from dataclasses import replace

from qbnnc.ir.evaluate import evaluate_node
from qbnnc.ir.graph import Graph, Value, rewrite
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import DeterministicOp
from qbnnc.ir.outputs import MEAN, identifiers, role_of
from qbnnc.ir.rng import Draw
from qbnnc.ir.types import CONSTANT, Array, Stage
from qbnnc.passes.head.classification import as_classifier
from qbnnc.passes.head.mean_and_variance import mean_and_variance_axis, split_mean_and_variance
from qbnnc.passes.head.regression import as_regression
from qbnnc.passes.head.strip_softmax import ends_in_sigmoid, ends_in_softmax
from qbnnc.support.errors import UserError


def name_outputs(model: Model, names: tuple[str, ...]) -> Model:
    """The model with these names, as its user states them; UserError if they do not fit.

    Two names for one output, a mean and what says its variance, are the halves of its channels.
    """
    telling = [role_of(name) for name in names]
    pair = MEAN in telling and len(names) == 2 == len({*telling} - {None})
    if pair and len(model.graph.outputs) == 1:
        model = _halved(model, names)
    named = replace(model, head=Head(Task.RAW, names, stated=True))
    named.head.check(tuple(v.type for v in named.graph.outputs))
    return named if model.head.task is Task.RAW else with_head(named, model.head.task)


def fitted_by_targets(model: Model) -> Model:
    """The model as its targets read it, which have the shape of its first output.

    One output of such a shape is the mean, and no mean and log variance in one.
    """
    alone = model.head.task is Task.RAW and len(model.graph.outputs) == 1
    return replace(model, head=replace(model.head, stated=True)) if alone else model


def _halved(model: Model, names: tuple[str, ...]) -> Model:
    axis, shape = mean_and_variance_axis(model.graph), list(model.graph.outputs[0].type.shape)
    if model.stage is not Stage.FLOAT:
        raise UserError(
            f"the one output {shape} is compiled already and cannot be cut in two",
            place=f"`output_names` {','.join(names)}",
            remedy="compile the trained model",
        )
    if axis is None:
        raise UserError(
            f"the one output {shape} has no two halves of channels",
            place=f"`output_names` {','.join(names)}",
            remedy="return two outputs, or name one",
        )
    return replace(model, members=tuple(split_mean_and_variance(m, axis) for m in model.members))


def with_head(model: Model, task: Task | None) -> Model:
    """The model with the head that its outputs have under `task`; None is the model's own task.

    A raw network that ends in a softmax, or in a sigmoid of one number, classifies by default. Ops
    that belong to the head are stripped from a FLOAT model, and the mean comes first. UserError
    where the outputs do not fit the task, or could be several things.
    """
    has = model.head.task
    if task in (None, has) and has is not Task.RAW:
        return model
    softmax, sigmoid = ends_in_softmax(model.graph), ends_in_sigmoid(model.graph)
    if task not in (None, Task.CLASSIFICATION) and softmax:
        raise UserError(
            "the network ends in softmax, which is part of task classification (its "
            "samples are the logits)",
            place=f"`task` {task.value}",
            remedy="leave `task` out, or return logits",
        )
    if task is None:
        binary = sigmoid and model.graph.outputs[0].type.size == 1
        task = Task.CLASSIFICATION if softmax or binary else Task.RAW
    match task:
        case Task.CLASSIFICATION:
            made = as_classifier(model)
        case Task.REGRESSION:
            made = as_regression(model)
        case Task.RAW:
            names = identifiers(model.head.outputs) if has is task else ()
            made = replace(model, head=Head(task, names))
    folded = replace(made, members=tuple(map(fold_constant_outputs, made.members)))
    folded.head.check(tuple(v.type for v in folded.graph.outputs))
    return folded


def fold_constant_outputs(graph: Graph) -> Graph:
    """The graph with every output that is computed from constants alone as one constant."""
    if not any(v.type.axes == CONSTANT and v not in graph.constants for v in graph.outputs):
        return graph
    data: dict[Value, Array] = {v: array[None, None] for v, array in graph.constants.items()}
    draw = Draw.of(0, [0], [0])
    for node in graph.nodes:
        if isinstance(node.op, DeterministicOp) and all(v in data for v in node.inputs):
            data[node.output] = evaluate_node(node, data, draw)
    constants, outputs = dict(graph.constants), list[Value]()
    for value in graph.outputs:
        if value.type.axes == CONSTANT and value not in graph.constants:
            array = data[value][0, 0]
            value = replace(value, type=replace(value.type, quant=None))
            constants[value] = array
        outputs.append(value)
    folded = replace(graph, constants=constants, outputs=tuple(outputs))
    return rewrite(folded, lambda node, build: None)
