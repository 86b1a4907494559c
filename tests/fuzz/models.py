"""The target `qbnn`: .qbnn files of all stages, signed again, loaded, run between fences.

A file that passes every check must predict what `ir.oracle` says, bit by bit, and be written and
read again as the same Model. SIMULATED files are lowered first, FLOAT ones compiled.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from random import Random

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from qbnnc.ir import format
from qbnnc.ir.graph import Graph
from qbnnc.ir.ids import rows_taken_by
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Conv2dInteger, LinearInteger
from qbnnc.ir.oracle import oracle_samples
from qbnnc.ir.types import Stage
from qbnnc.passes.pipeline import Options, lower_model, quantise_model
from qbnnc.passes.ranges.calibrate import Calibration
from qbnnc.runtime.cache import kernels
from qbnnc.runtime.session import Session
from qbnnc.support.errors import CompileError, UserError
from tests.fuzz import records, seeds
from tests.fuzz.regrow import Overgrown, Regrown
from tests.fuzz.signing import Parts, signed
from tests.fuzz.target import Unmade
from tests.fuzz.trees import flipped
from tests.fuzz.verdict import Kind, Verdict, WrongAnswer
from tests.guard_pages import Side, fences
from tests.strategies import random_integer_model

_LARGE, _TOO_LARGE = 1 << 18, 1 << 23  # work of one row of one sample, in elements and products
_MOST_ROWS = 1 << 22  # elements of a batch


def open_target() -> ModelTarget:
    """With the kernels compiled and the seeds made."""
    kernels()
    return ModelTarget()


class ModelTarget:
    """.qbnn files."""

    suffix = ".qbnn"

    def __init__(self) -> None:
        self.models = seeds.models()
        self.integer = [m for m in self.models if m.stage is Stage.INTEGER]
        self.files = [format.to_bytes(model) for model in self.models]
        self.parts = [Parts.of(data) for data in self.files]
        for data in self.files:
            if (verdict := self.attempt(data)).kind is not Kind.RAN:
                raise WrongAnswer(f"an honest model: {verdict}")

    def make(self, rng: Random) -> bytes:
        """A grown or regrown model, most of them valid, or a seed; then some changes or none."""
        kind = rng.random()
        if kind < 0.06:
            return flipped(rng, rng.choice(self.files))
        if kind < 0.30:
            parts, count = rng.choice(self.parts).copy(), rng.choice((1, 1, 1, 2, 3, 5))
        else:
            model = self.grown(rng) if kind < 0.60 else self.regrown(rng)
            parts, count = Parts.of(format.to_bytes(model)), rng.choice((0, 0, 0, 1, 1, 2))
        for _ in range(count):
            records.change(rng, parts, rng.choice(self.parts))
        try:
            return signed(parts)
        except (SafetensorError, TypeError, ValueError, KeyError) as error:
            raise Unmade(str(error)) from None

    def grown(self, rng: Random) -> Model:
        """A random network of any ops."""
        return random_integer_model(
            rng.randrange(2**31),
            classification=rng.random() < 0.3,
            dropout=rng.random() < 0.7,
            members=rng.choice((1, 1, 1, 2, 3)),
            ops=rng.choice(("all", "draws", "parts", "products")),
            sampled=rng.random() < 0.4,
        )

    def regrown(self, rng: Random) -> Model:
        """A seed with other windows, shapes and contents; all members with the same ones."""
        model, rate = rng.choice(self.integer), rng.choice((0.5, 1.0, 2.0))
        for _ in range(4):
            choices, seed = rng.randrange(2**31), rng.randrange(2**31)
            try:
                members = tuple(
                    Regrown(member, Random(choices), seed + number, rate).graph()
                    for number, member in enumerate(model.members)
                )
                made = replace(model, members=members)
                return made if made.stochastic else replace(made, draws=1)
            except (CompileError, Overgrown, ValueError, OverflowError, ZeroDivisionError):
                rate /= 2
        return model

    def attempt(self, data: bytes) -> Verdict:
        """Load, plan, predict, and compare with the definition."""
        rng = Random(data)
        with fences(rng.choice(list(Side))):
            return _tried(format.from_bytes(data), rng)


def _tried(model: Model, rng: Random) -> Verdict:
    if rng.random() < 0.1:
        _check_rewritten(model)
    try:
        if model.stage is Stage.INTEGER:
            return _predicted(model, rng)
        return _compiled(model, rng)
    except UserError as error:
        return Verdict(Kind.PASSED, str(error)[:300])


def _compiled(model: Model, rng: Random) -> Verdict:
    """The INTEGER Model of one of another stage, predicted with; it must not run as it is."""
    try:
        Session(model)
    except UserError:
        pass
    else:
        raise WrongAnswer(f"a session of the stage {model.stage.name}")
    rows = model.calibration
    if model.stage is Stage.SIMULATED:
        return _predicted(lower_model(model), rng)
    if rows is None or rows.size > _LARGE or work(model.graph) > _LARGE:
        return Verdict(Kind.PASSED, "float")
    how = Options(calibration=Calibration(passes=1))
    return _predicted(quantise_model(model, rows, how), rng)


def _check_rewritten(model: Model) -> None:
    """Check that a model that was read is the same after it is written and read again."""
    again = format.from_bytes(format.to_bytes(model))
    if format.digest(again) != format.digest(model):
        raise WrongAnswer("the Model has another digest when it is written and read again")


def _predicted(model: Model, rng: Random) -> Verdict:
    threads, block = rng.choice((1, 1, 2)), rng.choice((None, None, 1, 4096))
    session = Session(model, threads=threads, block_bytes=block)
    members, cost = len(model.members), work(model.graph)
    if cost > _TOO_LARGE:
        return Verdict(Kind.PASSED, "too large to run")
    rows = rng.choice((0, 1, 2, 3, 5)) if cost < _LARGE else 1
    if rows * model.graph.input.type.size > _MOST_ROWS:
        return Verdict(Kind.PASSED, "too large an input")
    draws = rng.choice((1, 2, 3)) if model.stochastic and cost < _LARGE else 1
    x, samples = batch(model.graph.input.type.shape, rows, rng), draws * members
    taken = rows_taken_by(model.graph)
    if taken.ids is not None and rng.random() < 0.9:
        x = taken.drawn(rows)
    seed, first_row = rng.choice((0, 1, 2**63, -5)), rng.choice((0, 1, 2**40))
    size = rng.choice((None, None, 1, 2))
    made = session.predict(x, samples, seed, first_row, size)
    for name in made:
        np.asarray(made[name])
    want = oracle_samples(model, x, samples=samples, seed=seed, first_row=first_row)
    names = model.head.sample_names(len(want))
    for name, expected in zip(names, want, strict=True):
        if not same(made[name], expected):
            raise WrongAnswer(f"{name} of {samples} samples of {rows} rows")
    if rng.random() < 0.2:
        session.trace(x[:1], samples)
    return Verdict(Kind.RAN)


def same(a: NDArray[np.float32], b: NDArray[np.float32]) -> bool:
    """Bit by bit; of NaN the definition says no bits."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    equal = np.ascontiguousarray(a).view(np.uint32) == np.ascontiguousarray(b).view(np.uint32)
    return bool((equal | (np.isnan(a) & np.isnan(b))).all())


def batch(shape: tuple[int, ...], rows: int, rng: Random) -> NDArray[np.float32]:
    """[rows, *shape]: about the range of most models, all of one number, or the ends of float32."""
    numbers = np.random.default_rng(rng.randrange(2**31))
    x = numbers.normal(0, rng.choice((1.3, 1.3, 100.0)), (rows, *shape))
    if x.size and rng.random() < 0.2:
        x.flat[:: rng.choice((1, 2, 7))] = rng.choice((np.inf, -np.inf, 3e38, -0.0, 1e-45, 0.0))
    return x.astype(np.float32)


def work(graph: Graph) -> int:
    """About what one row of one sample takes: elements, and products of layers."""
    total = 0
    for node in graph.nodes:
        taps = 1
        if isinstance(node.op, LinearInteger | Conv2dInteger):
            taps = prod(node.inputs[1].type.shape[1:])
        total += node.output.type.size * taps
        kernel = getattr(node.op, "kernel", (1,))
        total += node.output.type.size * (prod(kernel) - 1)
    return total
