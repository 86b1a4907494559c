"""The lines of a source that each test runs, so that a mutant has only the tests that reach it.

Each file of tests runs once on the sources as they are, and what it reaches is kept in a file.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
from coverage import Coverage

from tests.mutants.table import ROOT, sources, watching_tests


@dataclass(frozen=True, slots=True)
class Reach:
    """The node ids of the tests that run each line of each source, and their seconds of CPU.

    `lines` is by path and then by line, in JSON's keys: "12".
    """

    lines: dict[str, dict[str, list[str]]]
    seconds: dict[str, float]

    def tests(self, path: str, lines: Sequence[int]) -> tuple[str, ...]:
        """The tests that run one of the lines, the quickest first.

        All tests where none does: a line that runs when its module is imported.
        """
        known = self.lines.get(path, {})
        found = {test for line in lines for test in known.get(str(line), ())}
        return tuple(sorted(found or self.seconds, key=self.seconds.__getitem__))


def reach_of(tests: Sequence[str], folder: Path) -> Reach:
    """The lines that files of tests reach together, as recorded in a folder."""
    lines, seconds = dict[str, dict[str, list[str]]](), dict[str, float]()
    for name in tests:
        part = Reach(**json.loads(reach_file(name, folder).read_text(encoding="utf-8")))
        seconds |= part.seconds
        for path, known in part.lines.items():
            for line, found in known.items():
                lines.setdefault(path, {}).setdefault(line, []).extend(found)
    return Reach(lines, seconds)


def reach_file(tests: str, folder: Path) -> Path:
    """The place of a Reach in a folder, for the content of a file of tests and its sources."""
    digest = hashlib.sha256()
    for path in (tests, *_watched(tests)):
        digest.update((ROOT / path).read_bytes())
    return folder / f"reach-{Path(tests).stem}-{digest.hexdigest()[:16]}.json"


def _watched(tests: str) -> list[str]:
    """The sources that a file of tests watches."""
    return [path for path in sources() if tests in watching_tests(path)]


class Recorder:
    """A plugin of pytest that writes what a file of tests reaches in the sources it watches."""

    def __init__(self, tests: str, folder: Path) -> None:
        self._tests, self._folder = tests, folder
        self._paths, self._seconds = _watched(tests), dict[str, float]()
        included = [str((ROOT / path).resolve()) for path in self._paths]
        self._coverage = Coverage(data_file=None, config_file=False, include=included)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._coverage.start()
        self._coverage.switch_context(item.nodeid)
        start = time.process_time()
        try:
            return (yield)
        finally:
            self._seconds[item.nodeid] = round(time.process_time() - start, 3)
            self._coverage.stop()

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if exitstatus == 0:
            data, lines = self._coverage.get_data(), dict[str, dict[str, list[str]]]()
            for path in self._paths:
                known = data.contexts_by_lineno(str((ROOT / path).resolve()))
                lines[path] = {str(line): sorted({*tests} - {""}) for line, tests in known.items()}
            text = json.dumps(asdict(Reach(lines, self._seconds)))
            reach_file(self._tests, self._folder).write_text(text, encoding="utf-8")
