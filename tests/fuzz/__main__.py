"""Fuzzing from the command line.

    python -m tests.fuzz --minutes 10               every target in turns, seeds from the clock
    python -m tests.fuzz qbnn --seed 5 --minutes 1  the inputs of one seed
    python -m tests.fuzz qbnn --until 1000000 --state build/fuzz/million.json
                                                    go on where the last run stopped
    python -m tests.fuzz qbnn --replay 281          one input by its index, with its bytes kept
    python -m tests.fuzz qbnn --replay input.qbnn   or a file

The exit code is 1 if there were findings. Their inputs are kept in build/fuzz/found/.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from qbnnc.support.files import write_atomically
from tests.fuzz.campaign import Tally, attempts, campaign, made, suffix
from tests.fuzz.targets import MODULES
from tests.fuzz.verdict import ROOT, Verdict

_A_SEED = 1 << 24  # inputs that one seed has at most


def main() -> int:
    """Fuzz, or replay one input; 1 if something was found."""
    options = _arguments()
    if options.replay is not None:
        return _replay(options.targets[0], options.replay, options.found)
    tallies = _resumed(options)
    share = 60 * options.minutes / len(tallies)
    for tally in tallies:
        _fuzz(tally, share, tallies, options)
        print(tally.text(), flush=True)
    return int(any(tally.findings for tally in tallies))


def _arguments() -> argparse.Namespace:
    lines = (__doc__ or "").partition("\n")
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("tests.fuzz", description=lines[2], formatter_class=form)
    parser.add_argument("targets", nargs="*", choices=[*MODULES, []], help="all by default")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="for all targets")
    parser.add_argument("--seed", type=int, help="which inputs; by default the clock says")
    parser.add_argument("--until", type=int, help="inputs in all, counted over resumed runs")
    parser.add_argument("--state", type=Path, help="a file of counts, to go on from")
    parser.add_argument("--replay", metavar="INDEX|FILE", help="try one input")
    parser.add_argument("--found", type=Path, default=ROOT / "build" / "fuzz" / "found")
    options = parser.parse_args()
    options.targets = options.targets or list(MODULES)
    if options.minutes == float("inf") and options.until is None and options.replay is None:
        parser.error("say when to stop: --minutes or --until")
    return options


def _resumed(options: argparse.Namespace) -> list[Tally]:
    """Start where the state's file says, or from the first input of the seed."""
    state = options.state
    kept = json.loads(state.read_bytes()) if state is not None and state.exists() else {}
    seed = int(time.time()) if options.seed is None else options.seed
    first = 0 if state is not None and options.seed is None else seed * _A_SEED
    return [
        Tally.of(name, kept[name]) if name in kept else Tally(name, first)
        for name in options.targets
    ]


def _fuzz(tally: Tally, seconds: float, tallies: list[Tally], options: argparse.Namespace) -> None:
    """One target for its share of the time, or until it has had its number of inputs."""
    left = 2**62 if options.until is None else options.until - tally.inputs

    def found(index: int, verdict: Verdict) -> None:
        path = _keep(tally.target, index, options.found)
        print(f"{tally.target} {index}: {verdict.signature}: {verdict.detail} ({path})", flush=True)

    def save() -> None:
        if options.state is not None:
            options.state.parent.mkdir(parents=True, exist_ok=True)
            kept = {t.target: t.record() for t in tallies}
            write_atomically(options.state, json.dumps(kept, indent=1).encode())

    campaign(tally, tally.next + left, seconds, found=found, save=save)


def _keep(target: str, index: int, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{target}-{index}{suffix(target)}"
    path.write_bytes(made(target, index))
    return path


def _replay(target: str, which: str, folder: Path) -> int:
    path = _keep(target, int(which), folder) if which.isdigit() else Path(which)
    (verdict,) = attempts(target, [path])
    print(f"{path}: {verdict.kind.value}: {verdict.detail} {verdict.where}")
    return int(verdict.kind.is_fault)


if __name__ == "__main__":
    raise SystemExit(main())
