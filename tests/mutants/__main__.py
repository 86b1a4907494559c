"""Mutants from the command line.

    python -m tests.mutants --count 300             a seeded choice; goes on where it was stopped
    python -m tests.mutants ir/bounds.py            all mutants of some files
    python -m tests.mutants --like "quantisation_points.py _sou"  mutants whose names hold this text
    python -m tests.mutants --list                  names alone, nothing is run

The exit code is 1 if tests notice less than 90 % of the mutants, but for those that
tests/mutants/equivalent.toml says no test can tell from the original.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from tests.mutants.equivalent import reasons
from tests.mutants.mutations import mutations
from tests.mutants.reach import reach_file, reach_of
from tests.mutants.record import Record
from tests.mutants.table import ROOT, sources, watching_tests
from tests.mutants.trials import Trial, load, outcomes

_WANTED = 0.9


def main() -> int:
    """Try the mutants; 1 if too many survive."""
    options = _arguments()
    chosen = _chosen(options)
    if options.list:
        print(*(trial.name for trial in chosen), sep="\n")
        return 0
    record = Record(options.state / "outcomes.jsonl")
    if any(record.known(replace(trial, thorough=True)) is None for trial in chosen):
        load()
        _try_originals(chosen, options)
        _try(chosen, record, options)
        survivors = [trial for trial in chosen if not _noticed(record, trial)]
        _try([replace(trial, thorough=True) for trial in survivors], record, options)
    return _report(chosen, record)


def _arguments() -> argparse.Namespace:
    lines = (__doc__ or "").partition("\n")
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("tests.mutants", description=lines[2], formatter_class=form)
    parser.add_argument("files", nargs="*", help="of the files that are mutated; all by default")
    parser.add_argument("--count", type=int, help="how many mutants, chosen by the seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--like", default="", metavar="TEXT", help="a part of the mutant's name")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--state", type=Path, default=ROOT / "build" / "mutants")
    parser.add_argument("--list", action="store_true", help="print the names alone")
    options = parser.parse_args()
    if unknown := set(options.files) - set(sources()):
        parser.error(f"not mutated: {', '.join(sorted(unknown))}")
    options.state.mkdir(parents=True, exist_ok=True)
    return options


def _chosen(options: argparse.Namespace) -> list[Trial]:
    """The mutants to try, in an order that the seed decides.

    A mutant keeps its place where others come or go: most outcomes of an earlier run still count.
    """
    equivalent = reasons()
    found = [
        Trial(mutation.name, path, mutation.source, watching_tests(path), mutation.lines)
        for path in options.files or sources()
        for mutation in mutations(path, (ROOT / path).read_text(encoding="utf-8"))
        if mutation.name not in equivalent and options.like in mutation.name
    ]
    if options.count is None:
        return found
    return sorted(found, key=lambda trial: _place(options.seed, trial.name))[: options.count]


def _place(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed} {name}".encode()).digest()


def _try_originals(chosen: list[Trial], options: argparse.Namespace) -> None:
    """Run the tests on the sources as they are: they pass, and which lines they reach is kept."""
    files = sorted({file for trial in chosen for file in trial.tests})
    trials = [
        Trial(file, file, "", (file,), reach=options.state)
        for file in files
        if not reach_file(file, options.state).exists()
    ]
    for number, outcome in enumerate(outcomes(trials, options.jobs, options.state), 1):
        spent, name = f"{outcome.seconds:.0f} s of CPU", outcome.trial.name
        print(f"  {number}/{len(trials)} {spent}, as it is: {outcome.how}: {name}", flush=True)
        if not reach_file(name, options.state).exists():
            raise SystemExit(f"without a mutation tests fail: {name}")


def _try(chosen: list[Trial], record: Record, options: argparse.Namespace) -> None:
    """Run the trials whose outcomes are not known."""
    left, started = [trial for trial in chosen if record.known(trial) is None], time.monotonic()
    aimed = (_aimed(trial, options.state) for trial in left)
    for number, outcome in enumerate(outcomes(aimed, options.jobs, options.state), 1):
        record.add(outcome)
        spent = time.monotonic() - started
        mark = " " if outcome.noticed else "S"
        name = outcome.trial.name
        print(f"{mark} {number}/{len(left)} {spent:.0f} s: {outcome.how}: {name}", flush=True)


def _aimed(trial: Trial, folder: Path) -> Trial:
    """The trial with the tests that reach the lines of the mutation."""
    tests = reach_of(trial.tests, folder).tests(trial.path, trial.lines)
    return replace(trial, tests=tests)


def _noticed(record: Record, trial: Trial) -> bool:
    entry = record.known(trial)
    assert entry is not None
    return entry.noticed


def _report(chosen: list[Trial], record: Record) -> int:
    """Print the rate of each file and the survivors; the exit code."""
    noticed, total, survivors = Counter[str](), Counter[str](), list[str]()
    for trial in chosen:
        total[trial.path] += 1
        noticed[trial.path] += _noticed(record, trial)
        if not _noticed(record, trial):
            survivors.append(f"  {trial.name}   [{' '.join(watching_tests(trial.path))}]")
    for path in sorted(total):
        print(f"{noticed[path]:5} of {total[path]:4}  {path}")
    print(f"{len(survivors)} survivors", *sorted(survivors), sep="\n")
    rate = noticed.total() / max(total.total(), 1)
    print(f"{noticed.total()} of {total.total()} mutants noticed: {100 * rate:.1f} %")
    return int(rate < _WANTED)


if __name__ == "__main__":
    raise SystemExit(main())
