"""The target `programs`: .pt2 files of torch.export, and .pt files of torch.save, never unpickled.

A pickle among them that were opened would write a file; that is a wrong answer.
"""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import torch

from qbnnc.frontend import read_file, save_program
from qbnnc.frontend.files.detect_format import FileKind, detect_format
from qbnnc.frontend.files.exported_program import load_program
from qbnnc.frontend.read import _members
from qbnnc.frontend.read_weights import WeightReader
from qbnnc.ir.evaluate import evaluate
from qbnnc.ir.rng import Draw
from tests.fuzz import zips
from tests.fuzz.folder import new_folder
from tests.fuzz.networks import Image, Small
from tests.fuzz.trees import flipped, mutate
from tests.fuzz.verdict import Kind, Verdict, WrongAnswer

_FACTORY = "tests.fuzz.networks:Small"
_ROWS = np.zeros((2, 6), np.float32)
_WHOLE = 0.05
_EXAMPLES = {Small: (2, 6), Image: (2, 1, 4, 4)}


class Writes:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return eval, (f"open({str(self.path)!r}, 'w').close()",)


def open_target() -> ProgramTarget:
    """With two programs and their weights saved."""
    torch.set_num_threads(1)
    return ProgramTarget()


class ProgramTarget:
    """Files that torch wrote."""

    suffix = ".pt2"

    def __init__(self) -> None:
        self.folder = new_folder()
        self.path, self.canary = self.folder / "net.pt2", self.folder / "canary"
        self.poison = [torch_saved(Writes(self.canary)), pickle.dumps(Writes(self.canary))]
        self.programs, self.weights = list[zips.Members](), list[zips.Members]()
        for make, shape in _EXAMPLES.items():
            torch.manual_seed(0)
            net = make().eval()
            rows = np.random.default_rng(0).normal(size=(4, *shape[1:])).astype(np.float32)
            save_program(
                net, self.path, torch.zeros(shape), rows, "active" if make is Small else None
            )
            self.programs.append(zips.members_of(self.path.read_bytes()))
            self.weights.append(zips.members_of(torch_saved(net.state_dict())))
        self.reader = WeightReader(_FACTORY, {}, _ROWS, "active", trust_pickle=False)
        for members in (*self.programs, self.weights[0]):
            self.path.write_bytes(zips.written(members))
            if self.tried(whole=True).kind is not Kind.RAN:
                raise WrongAnswer("an honest file")

    def make(self, rng: Random) -> bytes:
        """An archive whose members, JSON, pickles or bytes are not what torch writes."""
        members = list(rng.choice(self.weights if rng.random() < 0.3 else self.programs))
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            place = rng.randrange(len(members))
            if rng.random() < 0.6:
                texts = [i for i, (name, _) in enumerate(members) if name.endswith(".json")]
                place = rng.choice(texts or [place])
            members[place] = (members[place][0], self.changed(rng, *members[place]))
        if rng.random() < 0.3:
            return zips.mutated(rng, members)
        return zips.written(members)

    def changed(self, rng: Random, name: str, data: bytes) -> bytes:
        """Another content of a member."""
        if rng.random() < 0.05:
            return rng.choice(self.poison)
        if not name.endswith(".json"):
            return flipped(rng, data) if data else b"x"
        try:
            tree = json.loads(data)
        except ValueError:
            return flipped(rng, data)
        for _ in range(rng.choice((1, 1, 2, 4))):
            mutate(rng, tree)
        return json.dumps(tree).encode()

    def attempt(self, data: bytes) -> Verdict:
        """Read the file as its kind; of some programs, run the graph too.

        What follows the reading of a program takes torch a second.
        """
        self.path.write_bytes(data)
        try:
            return self.tried(whole=Random(data).random() < _WHOLE)
        finally:
            if self.canary.exists():
                self.canary.unlink()
                raise WrongAnswer("the file ran code")

    def tried(self, *, whole: bool) -> Verdict:
        """The verdict on the file."""
        if detect_format(self.path) is not FileKind.EXPORTED_PROGRAM:
            for _ in _members(self.path, self.reader):
                pass
            return Verdict(Kind.RAN)
        if not whole:
            load_program(self.path)
            return Verdict(Kind.PASSED, "read, not converted")
        source = read_file(self.path)
        x = np.zeros((2, *source.graph.input.type.shape), np.float32)
        if x.size > 1 << 16:
            return Verdict(Kind.PASSED, "too large to run")
        evaluate(source.graph, x, Draw.of(0, range(2), range(2)))
        return Verdict(Kind.RAN)


def torch_saved(value: object) -> bytes:
    """The bytes of torch.save."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()
