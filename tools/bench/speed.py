"""How fast artefacts are: our runtime beside onnxruntime on the same integers, and beside PyTorch.

    python tools/bench/speed.py [--cases lenet_mcd ...] [--batches 1 32] [--threads 1 2]
        [--bits w8a7] [--seconds 3] [-o docs/performance.md]

Contenders take turns in one process, each prediction with L = 20 samples, drawn anew, and their
statistics: our runtime on the .qbnn file; onnxruntime on the .onnx file of the same compile, whose
samples are checked to be the same bits; PyTorch eager in float32, L passes of the module. A figure
is the ratio of the medians of their times. $QBNNC_ISA forces an instruction set on our runtime;
onnxruntime takes the best that the CPU has, whatever ours is.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

sys.path.append(str(Path(__file__).resolve().parents[1] / "study"))

from networks import Case, cases

import qbnnc
from qbnnc.artefacts import Artefact, open_artefact
from qbnnc.ir.files import write_atomically
from qbnnc.runtime.isa import chosen
from qbnnc.sources import CalibrationWarning
from qbnnc.timing import Contender, ratio, take_turns

SAMPLES, SEED = 20, 3


@dataclass(frozen=True, slots=True)
class Row:
    """Times of one network at one batch size and number of threads, in seconds, by contender."""

    title: str
    batch: int
    threads: int
    times: dict[str, list[float]]

    def ratio(self, contender: str) -> str:
        """How many times longer it takes than our runtime."""
        return str(ratio(self.times[contender], self.times["qbnnc"]))


def eager(members: list[torch.nn.Module], x: np.ndarray) -> Contender:
    """L passes of the float module, or one of each member."""
    batch, passes = torch.from_numpy(x), SAMPLES if len(members) == 1 else 1

    def call() -> object:
        with torch.inference_mode():
            outputs = [member(batch) for member in members for _ in range(passes)]
            stacked = torch.stack(outputs)
            return stacked.mean(0), stacked.var(0)

    return call


def compiled(case: Case, members: list[torch.nn.Module], bits: str, folder: Path) -> list[Path]:
    """The two artefacts, calibrated on noise: only their speed matters."""
    x = np.random.default_rng(0).standard_normal((128, *case.shape)).astype(np.float32)
    files = [folder / f"{case.name}.{suffix}" for suffix in ("qbnn", "onnx")]
    source: object = members[0]
    if len(members) > 1:
        source = [folder / f"member{i}.pt" for i in range(len(members))]
        for path, member in zip(source, members, strict=True):
            torch.save(member.state_dict(), path)
    qbnnc.compile(
        source,  # type: ignore[arg-type]  # a module, or files
        files,
        bits=bits,
        calibration=x,
        samples=None if len(members) > 1 else SAMPLES,
        model=None if len(members) == 1 else "training.models:LeNet5",
        calibration_passes=1,
        rounding="nearest",
        bias_correction=False,
    )
    return files


def same_bits(a: Artefact, b: Artefact, x: np.ndarray) -> None:
    """Stop if the contenders do not compute the same."""
    ours, theirs = (p.predict(x, seed=SEED)["samples"] for p in (a, b))
    if not np.array_equal(ours.view(np.uint32), theirs.view(np.uint32)):
        raise SystemExit("the two runtimes differ")


def rows(case: Case, options: argparse.Namespace, folder: Path) -> Iterator[Row]:
    torch.manual_seed(0)
    members = [member.eval() for member in case.make()]
    files = compiled(case, members, options.bits, folder)
    for threads in options.threads:
        torch.set_num_threads(threads)
        ours, theirs = (open_artefact(file, threads) for file in files)
        for batch in options.batches:
            x = np.random.default_rng(1).standard_normal((batch, *case.shape)).astype(np.float32)
            same_bits(ours, theirs, x)
            contenders: dict[str, Contender] = {
                "qbnnc": lambda x=x, p=ours: list(p.predict(x, seed=SEED).values()),  # type: ignore[misc]
                "onnxruntime": lambda x=x, p=theirs: p.predict(x, seed=SEED),  # type: ignore[misc]
                "torch": eager(members, x),
            }
            yield Row(case.title, batch, threads, take_turns(contenders, options.seconds))


def machine() -> str:
    """What the figures depend on."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("numba", "onnxruntime", "torch"))
    python = platform.python_version()
    return f"{processor()}; instruction set {chosen().value}; Python {python}, {versions}"


def processor() -> str:
    """The CPU's name where the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.processor()


def main() -> None:
    """Print the rows, and write them into a page between its two marks if one is given."""
    parser = argparse.ArgumentParser(description="How fast artefacts are.")
    parser.add_argument("--cases", nargs="*", default=[case.name for case in cases()])
    parser.add_argument("--batches", nargs="*", type=int, default=[1, 32])
    parser.add_argument("--threads", nargs="*", type=int, default=[1])
    parser.add_argument("--bits", default="w8a7")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each row")
    parser.add_argument("-o", "--output", type=Path, help="a page with the marks <!-- speed -->")
    options = parser.parse_args()
    warnings.simplefilter("ignore", CalibrationWarning)
    lines = [
        machine() + ".",
        "",
        "    python " + " ".join(sys.argv),
        "",
        "| network | batch | threads | onnxruntime / qbnnc | PyTorch float32 / qbnnc |",
        "|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for case in cases():
        if case.name not in options.cases:
            continue
        with tempfile.TemporaryDirectory() as folder:
            for row in rows(case, options, Path(folder)):
                ratios = row.ratio("onnxruntime"), row.ratio("torch")
                cells = (row.title, row.batch, row.threads, *ratios)
                lines.append("| " + " | ".join(map(str, cells)) + " |")
                print(lines[-1], flush=True)
    if options.output is not None:
        mark = "<!-- speed -->"
        before, _, after = options.output.read_text().split(mark)
        text = mark.join((before, "\n" + "\n".join(lines) + "\n", after))
        write_atomically(options.output, text.encode())


if __name__ == "__main__":
    main()
