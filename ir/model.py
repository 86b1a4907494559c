"""A Model: ensemble members, the head over their samples, and where it all came from."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import astuple, dataclass, field

import numpy as np

from qbnnc.ir.bounds import Known, check_bounds
from qbnnc.ir.check import Ends, check, check_text, random_nodes
from qbnnc.ir.codec import USUAL_VERSION
from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.head import Head
from qbnnc.ir.inputs import inputs_of
from qbnnc.ir.ops.base import RandomOp
from qbnnc.ir.ops.choice import ChoiceIndex
from qbnnc.ir.ops.dropout import KeepMask
from qbnnc.ir.ops.noise import Noise, NoiseCodes
from qbnnc.ir.ops.sampling import EpsCodes, Normal
from qbnnc.ir.text import node_text
from qbnnc.ir.types import Array, Stage
from qbnnc.support import limits
from qbnnc.support.errors import CompileError
from qbnnc.support.several_inputs import Entries
from qbnnc.support.text import counted

_METHODS: dict[str, tuple[type[RandomOp], ...]] = {
    "MC dropout": (KeepMask,),
    "Bayes by Backprop": (Normal, EpsCodes),
    "noise on activations": (Noise, NoiseCodes),
    "choice between constants": (ChoiceIndex,),
}


@dataclass(frozen=True, slots=True)
class Provenance:
    """The history of a Model; every field is text for people and for `inspect`."""

    compiler: str = ""  # "qbnnc 0.2.0"
    bits: str = ""  # "w8a7"
    weights: str = ""  # "channel-symmetric"
    calibration: str = ""  # "minmax over 512 rows x 4 passes, seed 0, sha256 ..."
    training: str = ""  # "3 epochs of match, lr 0.001, ...", if it was fine-tuned
    distribution: str = field(default="", metadata={"since": 2})  # how it was checked, or was not
    left_out: str = field(default="", metadata={"since": 2})  # outputs that are no predictions
    options: str = field(default="", metadata={"since": 2})  # JSON: '{"bits": "w8a7"}'


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """`members` share one structure and have scales of their own.

    `draws` is the default number of samples per member: 1 where nothing is random.
    `calibration` [N, *shape] f32 travels with a FLOAT model, so that it can be compiled later.
    `version` is that of the file format (`qbnnc.ir.format`) by whose rules it is written.
    """

    members: tuple[Graph, ...]
    head: Head
    draws: int = 1
    provenance: Provenance = Provenance()
    calibration: Array | None = None
    version: int = USUAL_VERSION

    def __repr__(self) -> str:
        """ "Model(FLOAT, raw, 3 members, [10] -> [1], [1])": the weights are not for the eye."""
        if not self.members:
            return "Model(no members)"
        inputs, outputs = inputs_of(self.graph), self.graph.outputs
        taken = ", ".join(str(list(each.shape)) for each in inputs)
        shapes = f"{taken} -> {', '.join(str(list(v.type.shape)) for v in outputs)}"
        members = counted(len(self.members), "member")
        return f"Model({self.stage.name}, {self.head.task.value}, {members}, {shapes})"

    @property
    def graph(self) -> Graph:
        """The first member, for what all of them share: structure, shapes, axes."""
        return self.members[0]

    @property
    def inputs(self) -> Entries:
        """The inputs by name, as they follow one another in a row."""
        return inputs_of(self.graph)

    @property
    def stage(self) -> Stage:
        return self.graph.stage

    @property
    def stochastic(self) -> bool:
        """Whether a member draws random numbers."""
        return any(True for _ in random_nodes(self.graph))

    @property
    def samples(self) -> int:
        """L by default: samples per member times members."""
        return self.draws * len(self.members)

    @property
    def method(self) -> str:
        """The field's name for what makes the samples differ."""
        drawn = [op for _, op in random_nodes(self.graph)]
        parts = [name for name, ops in _METHODS.items() if any(isinstance(op, ops) for op in drawn)]
        if len(self.members) > 1:
            parts.append(f"ensemble of {len(self.members)}")
        return " + ".join(parts) or "pointwise"

    def check(self, *, complete: bool = True) -> None:
        """Raise CompileError unless every member is well formed and all have one structure.

        They have the same ops, with the same inputs, and inputs and outputs of the same types.
        Unless it is `complete` some constants are zeros that are still to be filled in.
        """
        try:
            self._check_limits()
        except ValueError as error:
            raise CompileError(str(error), "the model") from error
        ends: Ends = {}
        known: Known = {}
        for number, member in enumerate(self.members):
            if (difference := _difference(self.graph, member)) is not None:
                raise CompileError(
                    f"member {number} is another network than member 0: {difference}", "the model"
                )
            check(member, ends, complete=complete)
            check_bounds(member, known)
        if self.draws > 1 and not self.stochastic:
            raise CompileError("nothing is random, so one draw a member is all", "the model")
        self.head.check(tuple(v.type for v in self.graph.outputs))

    def _check_limits(self) -> None:
        limits.MEMBERS.check(len(self.members))
        limits.DRAWS.check(self.draws)
        limits.ALL_NODES.check(sum(len(member.nodes) for member in self.members))
        for text in astuple(self.provenance):
            check_text(text, limits.TEXT)
        for name in self.head.outputs:
            check_text(name, limits.NAME)
        rows = self.calibration
        if rows is not None and (
            rows.dtype != np.float32
            or rows.ndim < 1
            or rows.shape[1:] != self.graph.input.type.shape
        ):
            raise ValueError(
                f"the calibration rows are {rows.dtype}{list(rows.shape)}, and the input "
                f"{self.graph.input.type}"
            )

    def draws_for(self, samples: int) -> range:
        """Each member's samples for `samples` in all; ValueError unless members divide them."""
        if samples < 1 or samples % len(self.members):
            raise ValueError(f"{samples} samples of an ensemble of {len(self.members)}")
        return range(samples // len(self.members))

    def sample_numbers(self, member: int, draws: range) -> range:
        """Sample s = draw * M + member (docs/semantics.md, section 5)."""
        count = len(self.members)
        return range(draws.start * count + member, draws.stop * count + member, count)


def _structure(graph: Graph) -> list[Hashable]:
    """The structure that members share, line by line: all but the scales and zero points."""
    ends = _outline(graph.input), tuple(map(_outline, graph.outputs))
    return [graph.stage, *map(_structure_of, graph.nodes), ends]


def _structure_of(node: Node) -> Hashable:
    return type(node.op), tuple(map(_outline, node.inputs)), _outline(node.output)


def _outline(value: Value) -> Hashable:
    type_ = value.type
    axis = None if type_.quant is None else type_.quant.axis
    return value.name, type_.dtype, type_.shape, type_.axes, axis


def _difference(first: Graph, other: Graph) -> str | None:
    """The first place where two members differ in structure; None if they do not."""
    if _structure(first) == _structure(other):
        return None
    if first.stage is not other.stage:
        return f"its stage is {other.stage.name}, and not {first.stage.name}"
    for mine, theirs in zip(other.nodes, first.nodes, strict=False):
        if _structure_of(mine) != _structure_of(theirs):
            return f"{node_text(mine)}, and not {node_text(theirs)}"
    if len(first.nodes) != len(other.nodes):
        return f"it has {counted(len(other.nodes), 'op')}, and not {len(first.nodes)}"
    ends = (", ".join(f"{v.name}: {v.type}" for v in (g.input, *g.outputs)) for g in (other, first))
    return ", and not ".join(ends)
