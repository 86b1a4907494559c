"""From the graph of a member to the steps of a program: one rule for each op."""

from __future__ import annotations

import numpy as np

from qbnnc.backends.c import (
    draws,
    dropped,
    elementwise,
    embedding,
    layers,
    matrices,
    moves,
    normalize,
    softmax,
)
from qbnnc.backends.c.program import Constants, Phase, Program
from qbnnc.backends.c.scope import Forms, Scope
from qbnnc.backends.c.values import Held, row_major
from qbnnc.ir.graph import Graph, Node
from qbnnc.ir.ids import id_values
from qbnnc.ir.ops.activation import ClampCodes
from qbnnc.ir.ops.choice import Choice, ChoiceIndex
from qbnnc.ir.ops.dropout import KeepMask, Select
from qbnnc.ir.ops.elementwise import AddQuantized, MultiplyInteger
from qbnnc.ir.ops.embedding import EmbeddingCodes
from qbnnc.ir.ops.integer import Conv2dInteger, LinearInteger
from qbnnc.ir.ops.matmul import MatMulInteger
from qbnnc.ir.ops.noise import NoiseCodes
from qbnnc.ir.ops.normalize import NormalizeInteger
from qbnnc.ir.ops.part import Part
from qbnnc.ir.ops.pooling import MaxPool2d, SumPoolInteger
from qbnnc.ir.ops.quantize import Dequantize, QuantizeInput, Requantize
from qbnnc.ir.ops.sampling import EpsCodes, SampledWeightInteger
from qbnnc.ir.ops.shape import Concat, Move, Reshape
from qbnnc.ir.ops.softmax import SoftmaxInteger
from qbnnc.ir.ops.sum_of_products import SumOfProductsInteger
from qbnnc.ir.ops.unary import Lookup, LookupReal
from qbnnc.ir.ops.unpooling import MaxUnpool
from qbnnc.ir.types import DType
from qbnnc.support.errors import CompileError


def emit(graph: Graph, constants: Constants, members: int, forms: Forms) -> Scope:
    """Emit the steps of one member; CompileError for what C does not have."""
    scope, ids = Scope(graph, Program(constants, members), forms), id_values(graph)
    for node in graph.nodes:
        if node in scope.done or node.output in ids:
            continue
        constants.layer = node.output.name
        try:
            _emit(node, scope)
        except ValueError as error:
            raise CompileError(
                f"{node.op.name}: the C backend does not take {error}",
                node.loc,
                remedy="compile to .onnx or .qbnn",
            ) from error
    constants.layer = "outputs"
    _copy_outputs(scope)
    return scope


def _emit(node: Node, scope: Scope) -> None:
    match node.op:
        case Part():
            pass  # what reads it reads the caller's array
        case QuantizeInput():
            elementwise.read_input(node, node.op, scope)
        case EmbeddingCodes():
            embedding.embed(node, scope)
        case Conv2dInteger() | LinearInteger():
            layers.emit(node, scope)
        case KeepMask():
            elementwise.keep_mask(node, node.op, scope)
        case NoiseCodes():
            draws.noise(node, node.op, scope)
        case ChoiceIndex():
            draws.choice_index(node, node.op, scope)
        case Select() if node.output.type.dtype is DType.U8:
            elementwise.select(node, scope)
        case Select() if node.output.type.dtype is DType.I32:
            dropped.drop_bias(node, scope)
        case Requantize():
            elementwise.requantize(node, node.op, scope)
        case Dequantize():
            elementwise.dequantize(node, scope)
        case Lookup() | LookupReal():
            elementwise.look_up(node, scope)
        case ClampCodes():
            elementwise.clamp(node, node.op, scope)
        case AddQuantized():
            elementwise.add(node, node.op, scope)
        case MatMulInteger():
            matrices.multiply(node, node.op, scope)
        case MultiplyInteger():
            elementwise.multiply(node, scope)
        case SumOfProductsInteger():
            elementwise.sum_of_products(node, node.op, scope)
        case NormalizeInteger():
            normalize.normalize(node, node.op, scope)
        case MaxPool2d() | SumPoolInteger():
            elementwise.pool(node, node.op, scope)
        case MaxUnpool():
            elementwise.unpool(node, node.op, scope)
        case SoftmaxInteger():
            softmax.emit(node, node.op, scope)
        case Reshape():
            moves.reshape(node, scope)
        case Concat():
            moves.concat(node, node.op, scope)
        case Move():
            moves.move(node, scope)
        case EpsCodes() | SampledWeightInteger() | Select():
            pass  # the layer that takes the weight draws it
        case Choice():
            pass  # what reads it finds the constant where it is
        case _:
            raise ValueError("this op")


def _copy_outputs(scope: Scope) -> None:
    """Copy outputs that no step writes to their place."""
    for number, value in enumerate(scope.graph.outputs):
        if number in scope.written:
            continue
        shape = value.type.shape
        if value.type.dtype is not DType.F32:
            raise CompileError(f"output {number} is {value.type.dtype.value}", "the network")
        if (array := scope.graph.constants.get(value)) is not None:
            text = scope.program.pointer(np.broadcast_to(array, shape), "float")
            held = Held(text, row_major(shape), "float")
        else:
            held = scope.held(value)
        target = scope.output(number)
        moves.walk(scope, Phase.SAMPLE, shape, held, target)
