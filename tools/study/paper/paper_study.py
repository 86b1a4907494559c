"""The paper's experiments: every width of weights at 7-bit activations and the other way round.

    python -m qbnnc.study.paper.train_networks DATA NETS
    python -m qbnnc.study.paper.paper_study NETS OUT [--networks lenet boston concrete]
        [--methods ...] [--schemes default paper] [--precisions ptq qat]
        [--seeds 3] [--rows 2000] [--workers 2]

train_networks.py writes NETS. OUT gets files as they come, and an interrupted study goes on with
the same command:

- NETWORK_METHOD.jsonl: an image network;
- NETWORK_METHOD_shifts.jsonl: 500 rotated, brightened and moved images, in float and at w8a7, with
  one seed;
- TABLE_METHOD_foldK.jsonl: a fold of a table. A fold is the seed of its results, so that the spread
  over "seeds" is the spread over folds;
- paper/: the same with the paper's scheme instead of the compiler's defaults, a file for each width
  of activations.

The paper's scheme has one affine scale for a weight tensor, and ranges by moving average. It
quantises the outputs, gives the input as few bits as activations, and rounds weights to the nearest
integer. `paper_report.py OUT DOCS` makes pages and tables of the results.

Every prediction has L = 20 samples. Images have 3 seeds; fine-tuned ensembles, and networks
fine-tuned in the paper's scheme, have one. Tables have 10 folds. Metrics are those of the first
`--rows` test images and of 500 out-of-distribution images. The grid is the paper's, and w4a4 and
w3a3.

Networks are fine-tuned (QAT) at 4 bits and less, where calibration alone may not do. Fine-tuning
matches the float network's outputs under the same masks and eps, by Adam with a cosine, with
learned ranges. The epochs below are those of each ensemble member. (The paper fine-tunes every
width by SGD, 10 epochs of its training loss.)
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qbnnc.loading.sources import SourceOptions
from qbnnc.passes.options import Bits, CompileOptions
from qbnnc.study.paper.training import recipes
from qbnnc.study.paper.training.jobs import HIDDEN, IMAGES, NETWORKS
from qbnnc.study.plan import paper_grid
from qbnnc.study.prepare import Network
from qbnnc.study.run import PAPER_ACTIVATIONS, PAPER_WEIGHTS, run_sweep
from qbnnc.study.settings import Tuning
from tools.models import LENET5

OOD_ROWS = 500
SHIFTED_ROWS = 500
BITS = (*paper_grid(PAPER_WEIGHTS, PAPER_ACTIVATIONS), Bits(4, 4), Bits(3, 3))
TUNED_BITS = tuple(b for b in BITS if min(b.weights, b.activations) <= 4)
SCHEMES = ("default", "paper")
CLASSES = {"pointwise": "", "mcd": "_MCD", "bbb": "_BBB", "sghmc": ""}
IMAGE_EPOCHS = {"pointwise": 1.0, "mcd": 1.0, "bbb": 1.0, "sghmc": 0.1}
PAPER_SCHEME = CompileOptions(
    weights="tensor-affine",
    observer="ema",
    quantise_output=True,
    rounding="nearest",
    bias_correction=False,
)
TABLE_EPOCHS = {"pointwise": 30.0, "mcd": 30.0, "bbb": 30.0, "sghmc": 6.0}


@dataclass(frozen=True, slots=True)
class Part:
    """One network and method; for a table, also one fold."""

    network: str
    method: str
    fold: int | None
    shifts: bool = False

    @property
    def weights(self) -> str:
        fold = "" if self.fold is None else f"_fold{self.fold}"
        return f"{self.network}_{self.method}{fold}"

    @property
    def name(self) -> str:
        return self.weights + "_shifts" * self.shifts

    @property
    def data(self) -> str:
        return self.network if self.fold is None else f"{self.network}_fold{self.fold}"

    def factory(self) -> str:
        base = "LeNet" if self.network == IMAGES else "MLP"
        return f"tools.models:{base}{CLASSES[self.method]}"


@dataclass(frozen=True, slots=True)
class Scheme:
    """Options of compiling at some bits, and the file of their results."""

    file: Path
    bits: tuple[Bits, ...]
    compile_options: CompileOptions | None = None  # the compiler's defaults


def parts(networks: list[str], methods: list[str], nets: Path) -> Iterator[Part]:
    """Images first, then the trained folds of tables, every method of one before the next."""
    for network in networks:
        folds = [None] if network == IMAGES else range(len(list(nets.glob(f"{network}_fold*.npz"))))
        for fold in folds:
            for method in methods:
                yield Part(network, method, fold)
        if network == IMAGES:
            yield from (Part(network, method, None, shifts=True) for method in methods)


def schemes(part: Part, out: Path) -> Iterator[Scheme]:
    """The compiler's defaults, and the paper's scheme at each width of activations."""
    yield Scheme(out / f"{part.name}.jsonl", BITS)
    for width in sorted({b.activations for b in BITS}, reverse=True):
        bits = tuple(b for b in BITS if b.activations == width)
        file = out / "paper" / f"{part.name}_a{width}.jsonl"
        yield Scheme(file, bits, PAPER_SCHEME | CompileOptions(input_bits=width, outer_bits=width))


def run(part: Part, nets: Path, out: Path, options: argparse.Namespace, pool: Executor) -> None:
    """Write one file of results, and for the paper's scheme one for each width of activations."""
    with np.load(nets / f"{part.data}.npz") as archive:
        data: dict[str, NDArray[np.generic]] = dict(archive)
    images = part.fold is None
    rows = options.rows if images else len(data["x_test"])
    rows = SHIFTED_ROWS if part.shifts else rows
    seeds = [part.fold] if part.fold is not None else list(range(options.seeds))
    arguments: dict[str, object] = {"widths": LENET5}
    if images and part.method == "mcd":
        arguments["pixel_range"] = 1
    if not images:
        arguments = {"in_features": data["x_train"].shape[1], "hidden": HIDDEN}
    source = SourceOptions(part.factory(), arguments)
    epochs = (IMAGE_EPOCHS if images else TABLE_EPOCHS)[part.method]
    sweep = partial(
        run_sweep,
        {part.method: Network(nets / f"{part.weights}.pt", source)},
        train=(data["x_train"], data["y_train"]),
        test=(data["x_test"][:rows], data["y_test"][:rows]),
        ood=data["ood"][:OOD_ROWS] if images else None,
        task="classification" if images else "regression",
        tuning=Tuning("match", epochs, 1e-3, 64 if images else 32),
        shifts=part.shifts,
        target_mean=float(data["y_mean"].item()) if "y_mean" in data else 0.0,
        target_std=float(data["y_std"].item()) if "y_std" in data else 1.0,
        executor=pool,
        command=f"python -m qbnnc.study.paper.paper_study NETS OUT ({part.name})",
    )
    if part.shifts:
        if "default" in options.schemes:
            sweep(out / f"{part.name}.jsonl", seeds=seeds[:1], bits=BITS[:1])
        return
    for scheme in schemes(part, out):
        if scheme.compile_options is None and "default" not in options.schemes:
            continue
        if scheme.compile_options is not None and "paper" not in options.schemes:
            continue
        few = images and (part.method == "sghmc" or scheme.compile_options is not None)
        its = partial(
            sweep,
            scheme.file,
            floats=scheme.compile_options is None,
            compile_options=scheme.compile_options,
        )
        if "ptq" in options.precisions:
            its(seeds=seeds, bits=scheme.bits)
        if "qat" in options.precisions and (tuned := [b for b in scheme.bits if b in TUNED_BITS]):
            its(seeds=seeds[:1] if few else seeds, bits=tuned, ptq=False, qat=True)


def main() -> None:
    """Run the parts that OUT lacks."""
    parser = argparse.ArgumentParser(description="The paper's experiments.")
    parser.add_argument("nets", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--methods", nargs="*", default=list(CLASSES), choices=recipes.METHODS)
    parser.add_argument("--schemes", nargs="*", default=list(SCHEMES), choices=SCHEMES)
    parser.add_argument("--precisions", nargs="*", default=["ptq", "qat"], choices=["ptq", "qat"])
    parser.add_argument("--seeds", type=int, default=3, help="seeds of images")
    parser.add_argument("--rows", type=int, default=2000, help="test images")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    (options.out / "paper").mkdir(parents=True, exist_ok=True)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.workers, mp_context=spawn) as pool:
        for part in parts(options.networks, options.methods, options.nets):
            run(part, options.nets, options.out, options, pool)
            print(part.name, flush=True)


if __name__ == "__main__":
    main()
