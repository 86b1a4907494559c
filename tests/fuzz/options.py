"""The target `options`: numbers and words that users give to commands and functions.

An input is JSON: the arguments of a command, or the keywords of a function of the API.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from random import Random

import click
import numpy as np

import qbnnc
from qbnnc.cli.main import cli
from qbnnc.ir import format
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_samples
from qbnnc.loading.writing import write_artefacts
from qbnnc.runtime import load
from qbnnc.support.errors import UserError
from tests.fuzz import seeds
from tests.fuzz.folder import new_folder
from tests.fuzz.models import same
from tests.fuzz.trees import OTHER, WHOLE, Tree
from tests.fuzz.verdict import Kind, Verdict, WrongAnswer
from tests.graphs import inputs, mlp

_FILES = (
    "a.qbnn",
    "a.qbnn",
    "b.qbnn",
    "a.onnx",
    "float.qbnn",
    "x.npz",
    "nowhere",
    "",
    ".",
    "x.npy",
)
_ARRAYS = ("x.npy", "x.npz:x", "x.npz:y", "x.npz", "x.npy:x", "nowhere.npy", ":", "a.qbnn", "")
_NUMBERS = ("1", "2", "3", "6", "0", "-1", "x", "", "1e3", "1.5", *map(str, WHOLE), "9" * 4400, "٣")
_SMALL = ("1", "2", "3", "4", "6", "20")
_OUTPUTS = ("p.npz", "p.npz", "p.txt", "nowhere/p.npz", "a.qbnn", "", ".", "x.npz")
_MADE = ("out.qbnn", "out.onnx", "out.txt", "float.qbnn", "nowhere/out.qbnn", "")
_TASKS = ("raw", "classification", "regression", "x", "")
_BITS = ("w8a7", "w4a4", "w2a2", "w9a7", "w1a1", "auto", "w8", "", "w8a7,fc1=w4a4", "W8A7", "w08a7")
_CHOICES = {
    "--weights": ("channel-symmetric", "tensor-affine", "x"),
    "--scales": ("free", "pow2", "x"),
    "--rounding": ("nearest", "fitted", "x"),
    "--mask-sharing": ("row", "batch", "x"),
    "--calibration": ("minmax", "mse", "x", "ema"),
    "--layer": ("fc1=w4a4", "mu=w2a8", "x=w4a4", "fc1", "fc1=", "="),
    "--input-bits": _NUMBERS[:20],
    "--residual-bits": _NUMBERS[:20],
    "--outer-bits": _NUMBERS[:20],
    "--calibration-passes": ("1", "0", "-1", "x"),
    "--calibration-seed": ("0", "-1", "x", str(2**64)),
}
_MOST_COMPARED = 400  # samples


def open_target() -> OptionTarget:
    """With a folder of artefacts and arrays, which becomes the working directory."""
    return OptionTarget()


class OptionTarget:
    """Command lines, and keywords of the API."""

    suffix = ".json"

    def __init__(self) -> None:
        self.rows = inputs(mlp(), 4)
        float_model = Model((mlp(),), Head(Task.REGRESSION), calibration=inputs(mlp(), 8))
        self.model = seeds.quantise(float_model)
        ensemble = seeds.quantise(Model((mlp(0, None), mlp(1, None)), Head(Task.RAW)))
        self.home, self.folder = os.getcwd(), new_folder()
        self.files: dict[str, bytes] = {
            "a.qbnn": format.to_bytes(self.model),
            "b.qbnn": format.to_bytes(ensemble),
            "float.qbnn": format.to_bytes(float_model),
        }
        os.chdir(self.folder)
        try:
            np.save("x.npy", self.rows)
            np.savez("x.npz", x=self.rows, y=self.rows[:, :3])
            write_artefacts(self.model, [self.folder / "a.onnx"])
            self.files |= {n: (self.folder / n).read_bytes() for n in ("x.npy", "x.npz", "a.onnx")}
        finally:
            os.chdir(self.home)
        for honest in (
            {"command": ["run", "a.qbnn", "--input", "x.npy"]},
            {"command": ["verify", "a.qbnn", "a.onnx", "--input", "x.npz:x", "--samples", "2"]},
            {"command": ["inspect", "a.qbnn", "--plan", "--batch", "2"]},
            {"predict": {"samples": 3}},
            {"compile": {"bits": "w4a4"}},
        ):
            if self.attempt(json.dumps(honest).encode()).kind is not Kind.RAN:
                raise WrongAnswer(f"honest options: {honest}")

    def make(self, rng: Random) -> bytes:
        """A command, or a call."""
        kind = rng.random()
        tree: Tree = {"command": _command(rng)}
        if kind < 0.35:
            tree = {"predict": _keywords(rng, ("samples", "seed", "first_row", "batch_size"))}
        elif kind < 0.45:
            tree = {"trace": _keywords(rng, ("samples", "seed", "first_row", "member"))}
        elif kind < 0.5:
            tree = {"load": _keywords(rng, ("threads",))}
        elif kind < 0.55:
            tree = {"compile": _making(rng)}
        return json.dumps(tree).encode()

    def attempt(self, data: bytes) -> Verdict:
        """Run the command, or call the function, in the folder as it was at the beginning."""
        for file in self.folder.iterdir():
            if file.name not in self.files:
                file.unlink()
        for name, content in self.files.items():
            (self.folder / name).write_bytes(content)
        ((kind, arguments),) = json.loads(data).items()
        os.chdir(self.folder)
        try:
            return self.done(kind, arguments)
        finally:
            os.chdir(self.home)

    def done(self, kind: str, arguments: Tree) -> Verdict:
        """The verdict on one call."""
        match kind:
            case "command":
                return _run(arguments)
            case "predict":
                return self.predicted(arguments)
            case "trace":
                load(self.model, 1).trace(self.rows, **arguments)
            case "load":
                load(self.model, **arguments)
            case "compile":
                qbnnc.compile("float.qbnn", "out.qbnn", **arguments)
        return Verdict(Kind.RAN)

    def predicted(self, arguments: Tree) -> Verdict:
        """Whatever the options, the samples are those of the oracle."""
        made = load(self.model, 1).predict(self.rows, **arguments)
        numbers = {k: v for k, v in arguments.items() if k in ("seed", "first_row")}
        names = self.model.head.sample_names(len(self.model.graph.outputs))
        count = len(made[names[0]])
        if count > _MOST_COMPARED:
            return Verdict(Kind.UNCOMPARED)
        want = oracle_samples(self.model, self.rows, samples=count, **numbers)
        for name, expected in zip(names, want, strict=True):
            if not same(made[name], expected):
                raise WrongAnswer(f"{name}, {arguments}")
        return Verdict(Kind.RAN)


def _run(arguments: list[str]) -> Verdict:
    """A command as a shell would give it; its words on the terminal are not kept."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            cli.main(args=list(arguments), prog_name="qbnnc", standalone_mode=False)
        except (click.ClickException, click.exceptions.Abort) as error:
            raise UserError(str(error)) from None
    return Verdict(Kind.RAN)


def _keywords(rng: Random, names: tuple[str, ...]) -> Tree:
    chosen = [name for name in names if rng.random() < 0.5]
    return {n: rng.choice((rng.choice(WHOLE), 2, 4, rng.choice(OTHER))) for n in chosen}


def _making(rng: Random) -> Tree:
    words = {
        "bits": _BITS,
        "samples": (1, 2, 0, -1, 10**12, "x", None),
        "task": _TASKS,
        "calibration_passes": (1, 0, -1, 1.5),
        "input_bits": (2, 8, 0, 9, "x"),
        "residual_bits": (2, 8, 0, 9, "x"),
        "outer_bits": (2, 8, 0, 9, "x"),
        "quantise_output": (True, False, None),
        "output_names": ("mean,variance", "a", "", "mean,x", 5),
        "scales": ("pow2", "free", "x", 3),
        "nothing": (1,),
    }
    return {
        name: rng.choice(words[name]) for name in rng.sample(list(words), rng.choice((0, 1, 2)))
    }


def _command(rng: Random) -> list[str]:
    """Arguments of a command, most of them of the right kind."""
    name = rng.choice(("run", "run", "inspect", "verify", "compile", "x", ""))
    words = [name, rng.choice(_FILES)]
    number = rng.choice((_SMALL, _NUMBERS))
    if name in ("run", "verify"):
        words += ["--input", rng.choice(_ARRAYS[: rng.choice((2, 9))])]
        for option in ("--samples", "--seed", "--first-row", "--batch-size"):
            words += [option, rng.choice(number)] * (rng.random() < 0.3)
    if name == "run" and rng.random() < 0.3:
        words += ["-o", rng.choice(_OUTPUTS)]
    elif name == "inspect":
        words += ["--plan"] * (rng.random() < 0.6)
        for option in ("--batch", "--threads"):
            words += [option, rng.choice(number)] * (rng.random() < 0.3)
    elif name == "compile":
        words += ["-o", rng.choice(_MADE), "--bits", rng.choice(_BITS)]
        for option in rng.sample(list(_CHOICES), rng.choice((0, 1, 2))):
            words += [option, rng.choice(_CHOICES[option])]
        words += ["--samples", rng.choice(number)] * (rng.random() < 0.3)
        words += ["--task", rng.choice(_TASKS)] * (rng.random() < 0.3)
    words += [rng.choice(("--json", "-q", "-v", "--wat", "--", "-h"))] * (rng.random() < 0.3)
    return words
