"""A Model: ensemble members, the head over their samples, and where it all came from."""

from __future__ import annotations

from dataclasses import dataclass, field

from qbnnc.ir.bounds import check_bounds
from qbnnc.ir.check import check, random_nodes
from qbnnc.ir.codec import VERSION
from qbnnc.ir.errors import CompileError
from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head
from qbnnc.ir.ops.base import Op
from qbnnc.ir.ops.dropout import KeepMask
from qbnnc.ir.types import Array, Stage
from qbnnc.ir.words import counted

MOST_DRAWS = 10**6


@dataclass(frozen=True, slots=True)
class Provenance:
    """How a Model was made; every field is text for people and for `inspect`."""

    compiler: str = ""  # "qbnnc 0.1.0"
    bits: str = ""  # "w8a7"
    weights: str = ""  # "channel-symmetric"
    calibration: str = ""  # "minmax over 512 rows x 4 passes, seed 0, sha256 ..."
    training: str = ""  # "3 epochs of match, lr 0.001, ...", if it was fine-tuned
    distribution: str = field(default="", metadata={"since": 2})  # how it was checked, or was not
    left_out: str = field(default="", metadata={"since": 2})  # outputs that are no predictions


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """`members` share one structure and have scales of their own.

    `draws` is how many samples each member gives by default: 1 where nothing is random.
    `calibration` [N, *shape] f32 travels with a FLOAT model, so that it can be compiled later.
    `version` is that of the file format (`qbnnc.ir.format`) by whose rules it is written.
    """

    members: tuple[Graph, ...]
    head: Head
    draws: int = 1
    provenance: Provenance = Provenance()
    calibration: Array | None = None
    version: int = VERSION

    def __repr__(self) -> str:
        """ "Model(FLOAT, raw, 3 members, [10] -> [1], [1])": the weights are not for the eye."""
        if not self.members:
            return "Model(no members)"
        ends = [str(list(v.type.shape)) for v in (self.graph.input, *self.graph.outputs)]
        shapes = f"{ends[0]} -> {', '.join(ends[1:])}"
        members = counted(len(self.members), "member")
        return f"Model({self.stage.name}, {self.head.task.value}, {members}, {shapes})"

    @property
    def graph(self) -> Graph:
        """The first member, for what all of them share: structure, shapes, axes."""
        return self.members[0]

    @property
    def stage(self) -> Stage:
        return self.graph.stage

    @property
    def stochastic(self) -> bool:
        """Whether a member draws random numbers."""
        return any(True for _ in random_nodes(self.graph))

    @property
    def samples(self) -> int:
        """L by default: draws times members."""
        return self.draws * len(self.members)

    @property
    def method(self) -> str:
        """The field's name for what makes the samples differ."""
        drawn = {isinstance(op, KeepMask) for _, op in random_nodes(self.graph)}
        parts = ["MC dropout"] * (True in drawn) + ["Bayes by Backprop"] * (False in drawn)
        if len(self.members) > 1:
            parts.append(f"ensemble of {len(self.members)}")
        return " + ".join(parts) or "pointwise"

    def check(self) -> None:
        """CompileError unless every member is well formed and all have one structure."""
        if not self.members or not 1 <= self.draws <= MOST_DRAWS:
            raise CompileError(f"a model has members, and 1..{MOST_DRAWS} draws", "the model")
        for number, member in enumerate(self.members):
            check(member)
            check_bounds(member)
            if _structure(member) != _structure(self.graph):
                raise CompileError(f"member {number} is another network than member 0", "the model")
        if self.draws > 1 and not self.stochastic:
            raise CompileError("nothing is random, so one draw a member is all", "the model")
        self.head.check(tuple(v.type for v in self.graph.outputs))

    def draws_for(self, samples: int) -> range:
        """The draws that give `samples` samples; ValueError unless members divide them."""
        if samples < 1 or samples % len(self.members):
            raise ValueError(f"{samples} samples of an ensemble of {len(self.members)}")
        return range(samples // len(self.members))

    def sample_numbers(self, member: int, draws: range) -> range:
        """Sample s = draw * M + member (docs/semantics.md, section 5)."""
        count = len(self.members)
        return range(draws.start * count + member, draws.stop * count + member, count)


def _structure(graph: Graph) -> list[tuple[type[Op], tuple[str, ...], str, tuple[int, ...]]]:
    return [
        (type(n.op), tuple(v.name for v in n.inputs), n.output.name, n.output.type.shape)
        for n in graph.nodes
    ]
