"""Engines besides onnxruntime that `verify` runs .onnx files in, by name or by a command."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qbnnc.ir.rng import LANES_PER_WORD, derive
from qbnnc.ir.types import Array
from qbnnc.support.errors import UserError
from qbnnc.support.numpy_files import array_names, read_member

if TYPE_CHECKING:
    from onnx.reference import ReferenceEvaluator
    from openvino import CompiledModel

    from qbnnc.backends.onnx.engine import Engine, Runner
    from qbnnc.backends.onnx.session import OnnxArtefact

PACKAGES = {"onnxruntime": "onnxruntime", "openvino": "openvino", "reference": "onnx"}
"""The engines that are known by name, and the package that each of them needs."""

_SECONDS = 1800
_SHOWN = 300  # characters of what a failing command said


def engine_of(text: str) -> Engine:
    """The engine of this name, or the command that runs one (`Command`).

    UserError if it is not installed, or cannot be started.
    """
    if text in PACKAGES:
        if find_spec(PACKAGES[text]) is None:
            package = PACKAGES[text]
            raise UserError(
                f"{package} is not installed",
                place=f"`engine` {text}",
                remedy=f"pip install {package}",
            )
        return _named(text)
    words = shlex.split(text)
    if not words or shutil.which(words[0]) is None:
        raise UserError(
            "neither a known engine nor a command that can be started",
            place=f"`engine` {text!r}",
            remedy=f'give {", ".join(PACKAGES)}, or a command such as "python runner.py"',
        )
    return Command(text, tuple(words))


def random_number_fault(artefact: OnnxArtefact, seed: int) -> str:
    """The difference of `rng_check` from what it must be; "" if there is none, or no such output.

    An engine that fails here has no 64-bit integers. Its samples can all be equal.
    """
    if (found := artefact.rng_check(seed)) is None:
        return ""
    expected = expected_check(seed)
    return "" if found == expected else f"rng_check is {list(found)}, and must be {list(expected)}"


def expected_check(seed: int) -> tuple[int, ...]:
    """The output `rng_check` for a seed: the four lanes of mix(seed + GOLDEN).

    >>> expected_check(0)  # 0xE220A8397B1DCDAF
    (52655, 31517, 43065, 57888)
    """
    word = int(derive(np.array([seed % 2**64], np.uint64), np.zeros(1, np.uint64))[0])
    return tuple(word >> 16 * lane & 0xFFFF for lane in range(LANES_PER_WORD))


def _named(name: str) -> Engine:
    if name == "openvino":
        return OpenVino()
    if name == "reference":
        return Reference()
    from qbnnc.backends.onnx.engine import OnnxRuntime

    return OnnxRuntime()


@dataclass(frozen=True, slots=True)
class OpenVino:
    """OpenVINO on the CPU."""

    name: str = "openvino"

    def open(self, data: bytes, threads: int | None) -> Runner:
        import openvino

        settings: dict[str, object] = {"INFERENCE_PRECISION_HINT": "f32"}
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        core = openvino.Core()
        with _last_line():
            return _OpenVinoRunner(core.compile_model(core.read_model(data), "CPU", settings))


@dataclass(frozen=True, slots=True)
class _OpenVinoRunner:
    compiled: CompiledModel

    def run(self, names: list[str], feed: Mapping[str, Array]) -> list[Array]:
        """OpenVINO refuses inputs that nothing reads."""
        read = {name for each in self.compiled.inputs for name in each.names}
        with _last_line():
            made = self.compiled({name: feed[name] for name in feed.keys() & read})
            return [np.array(made[name]) for name in names]


@contextmanager
def _last_line() -> Iterator[None]:
    """Errors of OpenVINO are told by their last line: places in its sources come before."""
    try:
        yield
    except RuntimeError as error:
        raise RuntimeError(str(error).strip().splitlines()[-1]) from None


@dataclass(frozen=True, slots=True)
class Reference:
    """The reference evaluator of the onnx package: numpy, slow, with nothing fused."""

    name: str = "reference"

    def open(self, data: bytes, threads: int | None) -> Runner:
        import onnx
        from onnx.reference import ReferenceEvaluator

        return _ReferenceRunner(ReferenceEvaluator(onnx.load_model_from_string(data)))


@dataclass(frozen=True, slots=True)
class _ReferenceRunner:
    evaluator: ReferenceEvaluator

    def run(self, names: list[str], feed: Mapping[str, Array]) -> list[Array]:
        with np.errstate(invalid="ignore", over="ignore"):
            made = self.evaluator.run(names, dict(feed))
        return [np.asarray(array) for array in made]


@dataclass(frozen=True, slots=True)
class Command:
    """A command that runs any engine: COMMAND MODEL.onnx INPUTS.npz OUTPUTS.npz.

    INPUTS.npz holds the model's inputs by name. The command writes the outputs by name; it may
    leave out those that are not asked for. It is started once for each batch.
    """

    name: str
    words: tuple[str, ...]

    def open(self, data: bytes, threads: int | None) -> Runner:
        return _CommandRunner(self, data)


@dataclass(frozen=True, slots=True)
class _CommandRunner:
    command: Command
    data: bytes

    def run(self, names: list[str], feed: Mapping[str, Array]) -> list[Array]:
        with tempfile.TemporaryDirectory() as folder:
            model, given, made = (
                Path(folder) / name for name in ("model.onnx", "inputs.npz", "outputs.npz")
            )
            model.write_bytes(self.data)
            np.savez(given, allow_pickle=False, **feed)
            self._start([str(model), str(given), str(made)])
            if not made.exists():
                raise self._error(
                    "wrote no outputs.npz", "write the file that the third word names"
                )
            found = array_names(made) or []
            if missing := [name for name in names if name not in found]:
                raise self._error(f"gave no {missing[0]!r}", "write every output by its name")
            return [read_member(made, name) for name in names]

    def _start(self, files: list[str]) -> None:
        try:
            ran = subprocess.run(
                [*self.command.words, *files],
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
                errors="replace",
            )
        except OSError as error:
            raise self._error(f"cannot be started: {error.strerror}", "install it") from None
        except subprocess.TimeoutExpired:
            raise self._error(f"took more than {_SECONDS:,} s", "give fewer rows") from None
        if ran.returncode:
            said = " ".join(ran.stderr.split())[-_SHOWN:]
            raise self._error(f"exit status {ran.returncode}: {said}", "try it alone")

    def _error(self, message: str, remedy: str) -> UserError:
        return UserError(message, place=f"`engine` {self.command.name!r}", remedy=remedy)
