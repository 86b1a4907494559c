"""Tests run on mutants, each in a process of its own that starts with the libraries loaded.

The mutated source stands in for its module when that is first imported; no file is changed.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import Phase, settings

from tests.mutants.reach import Recorder
from tests.mutants.table import PACKAGES, ROOT, module

_MEMORY = 12 << 30  # bytes of address space; some mutants would take all there is
_SLOW_CLOCK = 10  # seconds by the clock for each second of CPU: other processes run too
_EXAMPLES = 15  # of each property: 100 by default
_BUDGET = 12.0  # seconds of CPU after which no other test begins
_THOROUGH = 60.0  # the same in a trial of a mutant that survived so long
_STARTING = 60.0  # seconds of CPU that a trial may take besides
_WHOLE = 1800.0  # seconds of CPU for all tests of a source that is not mutated
PASSED_SO_FAR = "passed so far"
_LEFT = 90  # the exit code of a trial that passed, when its time was up before its tests were
_NAMES = {
    0: "passed", 1: "a test failed", 2: "not collected", 3: "pytest failed", _LEFT: PASSED_SO_FAR
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trial:
    """The text of a source, and the tests that run on it: files or node ids, in their order.

    A trial begins no test after 12 s of CPU, or 60 s if it is `thorough`. With a folder `reach` it
    runs all tests of one file on the sources as they are, and writes there what they reach.
    """

    name: str
    path: str
    source: str
    tests: tuple[str, ...]
    lines: range = range(0)
    thorough: bool = False
    reach: Path | None = None

    @property
    def budget(self) -> float:
        if self.reach is not None:
            return _WHOLE
        return _THOROUGH if self.thorough else _BUDGET


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a trial, and the seconds of CPU that it took."""

    trial: Trial
    noticed: bool
    how: str
    seconds: float


def load() -> None:
    """Export a network, which loads what most tests would load one by one."""
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(torch.nn.Linear(2, 1), (torch.zeros(2, 2),))
        exported.run_decompositions()
    gc.freeze()


def outcomes(trials: Iterable[Trial], jobs: int, folder: Path) -> Iterator[Outcome]:
    """Run trials, `jobs` at a time; outcomes in the order in which they end.

    RuntimeError if a trial says nothing about its source; what it printed stays in the folder.
    """
    waiting, running = iter(trials), dict[int, tuple[Trial, float]]()
    try:
        while True:
            while len(running) < jobs and (trial := next(waiting, None)) is not None:
                running[_start(trial, folder)] = trial, time.monotonic()
            if not running:
                return
            yield from _ended(running, folder)
            time.sleep(0.05)
    finally:
        for pid in running:
            os.killpg(pid, signal.SIGKILL)


def _ended(running: dict[int, tuple[Trial, float]], folder: Path) -> Iterator[Outcome]:
    for pid, (trial, since) in list(running.items()):
        if time.monotonic() - since > _SLOW_CLOCK * (trial.budget + _STARTING):
            os.killpg(pid, signal.SIGKILL)
        done, status, used = os.wait4(pid, os.WNOHANG)
        if not done:
            continue
        del running[pid]
        code, log = os.waitstatus_to_exitcode(status), folder / f"{pid}.log"
        if code > 0 and code not in _NAMES:
            raise RuntimeError(f"{trial.name}: no test ran: see {log}")
        log.unlink(missing_ok=True)
        late = code in (-signal.SIGXCPU, -signal.SIGKILL)
        how = "out of time" if late else _NAMES.get(code, f"ended by signal {-code}")
        yield Outcome(trial, code not in (0, _LEFT), how, used.ru_utime + used.ru_stime)


def _start(trial: Trial, folder: Path) -> int:
    """The process number of a trial that has begun."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        os.setpgid(pid, pid)
        return pid
    code = 99
    try:
        os.setpgid(0, 0)
        log = os.open(folder / f"{os.getpid()}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        _limit(resource.RLIMIT_CPU, int(trial.budget + _STARTING))
        _limit(resource.RLIMIT_AS, _MEMORY)
        _limit(resource.RLIMIT_CORE, 0)
        code = _run(trial)
    finally:
        os._exit(code)


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    resource.setrlimit(what, (most, hard))


def _run(trial: Trial) -> int:
    """The exit code of pytest, run in this process; 98 if its tests do not use the source."""
    os.chdir(ROOT)
    for known in [*sys.modules]:
        if known.partition(".")[0] in PACKAGES:
            del sys.modules[known]
    options = ["-q", "-x", "-p", "no:cacheprovider", "-m", "not slow and not nightly", "--all"]
    options += ["-W", "ignore:Module already imported"]  # pytest cannot rewrite what `load` has
    files = dict.fromkeys(test.partition("::")[0] for test in trial.tests)
    hurried = _Hurried(trial)
    if trial.reach is not None:
        (tests,) = files
        return int(pytest.main([*options, tests], [hurried, Recorder(tests, trial.reach)]))
    name = module(trial.path)
    sys.meta_path.insert(0, _Mutated(name, trial.source))
    code = pytest.main([*options, *files], [hurried])
    if not code and name not in sys.modules:
        return 98
    return int(code) or (_LEFT if hurried.left else 0)


class _Mutated(MetaPathFinder, InspectLoader):
    """Finds one module, whose source is given."""

    def __init__(self, name: str, source: str) -> None:
        self._name, self._source = name, source

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        assert spec is not None
        spec.loader = self
        return spec

    def get_source(self, fullname: str) -> str:
        return self._source


class _Hurried:
    """A plugin of pytest: the tests of a trial in their order, and a limit of CPU.

    Hypothesis tries few examples of each property, and does not look for the smallest that fails.
    """

    def __init__(self, trial: Trial) -> None:
        self._trial, self._end, self.left = trial, 0.0, 0

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        places = {test: place for place, test in enumerate(self._trial.tests)}
        if not any(file in places for file in {item.nodeid.partition("::")[0] for item in items}):
            items[:] = [item for item in items if item.nodeid in places]
            items.sort(key=lambda item: places[item.nodeid])

    def pytest_collection_finish(self) -> None:
        phases = (Phase.explicit, Phase.generate)
        profile = settings(max_examples=_EXAMPLES, phases=phases)
        settings.register_profile("mutants", profile)
        settings.load_profile("mutants")
        self._end = time.process_time() + self._trial.budget

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self) -> bool | None:
        """Tests that are left when the time is up count as run."""
        if time.process_time() <= self._end:
            return None
        self.left += 1
        return True
