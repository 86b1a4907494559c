"""Outcomes kept in a file of JSON lines, for runs that go on where another stopped."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from tests.mutants.table import ROOT, watching_tests
from tests.mutants.trials import PASSED_SO_FAR, Outcome, Trial


@dataclass(frozen=True, slots=True)
class Entry:
    """One outcome. `source` and `tests` are digests of what ran; seconds are of CPU."""

    name: str
    source: str
    tests: str
    noticed: bool
    how: str
    seconds: float
    thorough: bool = False


class Record:
    """The outcomes in a file, the last of each source.

    A mutant that was noticed stays so. A survivor is tried again when its tests have changed, and
    in a thorough trial if some of its tests did not run.
    """

    def __init__(self, file: Path) -> None:
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        entries = (Entry(**json.loads(line)) for line in lines)
        self._file, self._entries = file, {entry.source: entry for entry in entries}

    def known(self, trial: Trial) -> Entry | None:
        """The outcome of a trial, if it still holds."""
        entry = self._entries.get(_source(trial))
        if entry is None or entry.noticed:
            return entry
        if entry.tests != _tests(trial.path):
            return None
        more = trial.thorough and not entry.thorough and entry.how == PASSED_SO_FAR
        return None if more else entry

    def add(self, outcome: Outcome) -> None:
        """Keep an outcome."""
        trial = outcome.trial
        entry = Entry(
            name=trial.name,
            source=_source(trial),
            tests=_tests(trial.path),
            noticed=outcome.noticed,
            how=outcome.how,
            seconds=round(outcome.seconds, 2),
            thorough=trial.thorough,
        )
        self._entries[entry.source] = entry
        with self._file.open("a", encoding="utf-8") as file:
            print(json.dumps(asdict(entry)), file=file)


def _source(trial: Trial) -> str:
    return _digest(f"{trial.path}\n{trial.source}".encode())


@cache
def _tests(path: str) -> str:
    return _digest(b"".join((ROOT / name).read_bytes() for name in watching_tests(path)))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
