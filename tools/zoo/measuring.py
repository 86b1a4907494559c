"""Figures of a network for the table: sizes, fidelity at two widths, times of a prediction."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from qbnnc.bench.timing import ratio, take_turns
from qbnnc.loading.artefacts import open_artefact
from qbnnc.runtime import load
from tools.zoo.compiling import Compiled, Fidelity, compiled, differences, fidelity, read
from tools.zoo.network import Network

WIDE, NARROW = "w8a7", "w4a4"
_ROWS, _SECONDS = 16, 3.0  # of a prediction that is timed, and for which all take turns


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of one network; see `Fidelity` for errors, `kl`, `std`, `spread`.

    `size` is the .qbnn's in bytes. `seconds` of CPU are the runtime's, for 16 rows, and
    onnxruntime takes `times` as long.
    """

    name: str
    parameters: int
    classes: bool
    size: int
    reference: float
    wide: float
    narrow: float
    kl: float
    std: float
    spread: float
    seconds: float
    times: float

    @property
    def fidelity(self) -> Fidelity:
        """What was measured at w8a7."""
        return Fidelity(self.wide, self.reference, self.kl, self.std, self.spread)


def measured(network: Network) -> Row:
    """Train and compile a network, check its bits, and measure it; SystemExit if bits differ."""
    members = network.trained()
    parameters = sum(weight.numel() for net in members for weight in net.parameters())
    trained = read(network, members)
    with tempfile.TemporaryDirectory() as folder:
        made = compiled(network, trained, Path(folder), WIDE)
        for comparison in differences(made):
            if not comparison.equal:
                raise SystemExit(f"{network.name}: {comparison.name} has other bits")
        wide, (seconds, times) = fidelity(made), _times(made)
        size = made.qbnn.stat().st_size
        narrow = fidelity(compiled(network, trained, Path(folder), NARROW))
    return Row(
        network.name,
        parameters,
        network.loss.classes,
        size,
        wide.reference,
        wide.error,
        narrow.error,
        wide.kl,
        wide.std,
        wide.spread,
        seconds,
        times,
    )


def _times(made: Compiled) -> tuple[float, float]:
    """Seconds of CPU of the runtime's prediction, and onnxruntime's as a multiple of it."""
    x = made.network.data().x_test[:_ROWS]
    ours, theirs = load(made.qbnn, 1), open_artefact(made.onnx, 1)
    contenders = {"ours": lambda: ours.predict(x), "theirs": lambda: theirs.predict(x)}
    found = take_turns(contenders, _SECONDS, clock=time.process_time, warm=True)
    return sorted(found["ours"])[len(found["ours"]) // 2], ratio(
        found["theirs"], found["ours"]
    ).median


def kept(path: Path) -> dict[str, Row]:
    """The rows of a file, by name; the last one of a network counts."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {row.name: row for row in (Row(**json.loads(line)) for line in lines)}


def measure_all(networks: tuple[Network, ...], path: Path) -> Iterator[Row]:
    """Measure those that the file lacks, and add each to it at once."""
    known = kept(path)
    for network in networks:
        if network.name not in known:
            row = measured(network)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(row)) + "\n")
            yield row
