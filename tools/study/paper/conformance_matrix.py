"""Bit equality of reference networks over widths, weight schemes and scales.

    python -m qbnnc.study.paper.conformance_matrix NETS DATA [--networks boston_bbb ...] [--rows 4]

This script compiles every network of reference_nets.py under every combination. It compares the
samples of onnxruntime and the runtime with the oracle's, bit by bit. It prints a line for each
network and width; the exit code is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from itertools import product
from pathlib import Path

from qbnnc.api import compile as compile_network
from qbnnc.ir.model import Model
from qbnnc.loading.artefacts import open_artefact
from qbnnc.loading.sources import CalibrationWarning, SourceOptions, read, with_calibration
from qbnnc.passes.options import Scales, WeightScheme
from qbnnc.study.paper.reference_nets import Data, Network, networks
from qbnnc.verification.oracle import Drawing, verify

WIDTHS = ("w8a7", "w8a8", "w4a4", "w3a3", "w2a2")
CALIBRATION_ROWS = 32


def read_network(network: Network, nets: Path, data: Data) -> Model:
    """The FLOAT Model, traced once for all combinations."""
    options = SourceOptions(f"models:{network.factory}", network.arguments)
    rows = data.calibration[:CALIBRATION_ROWS]
    return with_calibration(read([nets / network.file], rows, options), rows)


def differing(model: Model, data: Data, rows: int, width: str) -> tuple[int, int]:
    """(values compared, values that differ) over all schemes and scales."""
    compared = differ = 0
    for weights, scales in product(WeightScheme, Scales):
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / f"net.{suffix}" for suffix in ("onnx", "qbnn")]
            compiled = compile_network(
                model,
                paths,
                bits=width,
                weights=weights.value,
                scales=scales.value,
                calibration_passes=1,
            )
            opened = {path.name: open_artefact(path) for path in paths}
            results = verify(compiled, opened, data.x[:rows], Drawing(seeds=(0, 1)))
        compared += sum(r.values for r in results)
        differ += sum(r.differing + r.statistics_off for r in results)
    return compared, differ


def main() -> int:
    """Compare the networks named, or all."""
    parser = argparse.ArgumentParser(description="Bit equality over widths, schemes and scales.")
    parser.add_argument("nets", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--networks", nargs="*")
    parser.add_argument("--widths", nargs="*", default=WIDTHS)
    parser.add_argument("--rows", type=int, default=4)
    options = parser.parse_args()
    sys.path.insert(0, str(options.nets))
    warnings.simplefilter("ignore", CalibrationWarning)
    total = 0
    for name, (network, load) in networks(options.data).items():
        if options.networks and name not in options.networks:
            continue
        data = load()
        model = read_network(network, options.nets, data)
        for width in options.widths:
            compared, differ = differing(model, data, options.rows, width)
            print(f"{name} {width}: {compared} values, {differ} differ", flush=True)
            total += differ
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
