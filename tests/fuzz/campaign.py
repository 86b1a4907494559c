"""Many inputs of one target: workers, what they found, and where to go on another day."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any

from tests.fuzz.folder import temporary
from tests.fuzz.target import Target, generator
from tests.fuzz.targets import open_target
from tests.fuzz.verdict import CHECKED, ROOT, Kind, Verdict, of_ours

_START = 1200.0  # seconds: kernels are compiled once, on a machine that may have other work
_SILENCE = 120.0  # seconds after which a worker is ended from outside
_TURN = 20.0  # seconds between two calls of `save`
_FRAME = re.compile(r'File "([^"]+)", line \d+ in (\S+)')


@dataclass
class Finding:
    """A kind of fault: the first input that shows it, and how many did."""

    index: int
    verdict: Verdict
    count: int = 1


@dataclass
class Tally:
    """The verdicts on the inputs FIRST.. up to, not including, `next` of one target."""

    target: str
    next: int
    counts: Counter[Kind] = field(default_factory=Counter)
    findings: dict[str, Finding] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def inputs(self) -> int:
        return sum(self.counts.values())

    @property
    def checked(self) -> int:
        """Inputs that passed every check when they were read."""
        return sum(self.counts[kind] for kind in CHECKED)

    def add(self, index: int, verdict: Verdict) -> bool:
        """Count one verdict; whether it is a finding that was not known."""
        self.next = index + 1
        self.counts[verdict.kind] += 1
        if not verdict.kind.is_fault:
            return False
        if verdict.signature in self.findings:
            self.findings[verdict.signature].count += 1
            return False
        self.findings[verdict.signature] = Finding(index, verdict)
        return True

    def text(self) -> str:
        """A line of counts, and one for each finding."""
        each = ", ".join(f"{self.counts[kind]} {kind.value}" for kind in Kind if self.counts[kind])
        head = f"{self.target}: {self.inputs} inputs in {self.seconds:.0f} s: {each or 'none'}"
        found = (
            f"  {f.count} x {signature} (index {f.index}): {f.verdict.detail}"
            for signature, f in self.findings.items()
        )
        return "\n".join([head, *found])

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "next": self.next,
            "seconds": self.seconds,
            "counts": {kind.value: count for kind, count in self.counts.items()},
            "findings": [
                {"index": f.index, "count": f.count, **f.verdict.record()}
                for f in self.findings.values()
            ],
        }

    @staticmethod
    def of(target: str, record: dict[str, Any]) -> Tally:
        """The inverse of `record`."""
        counts = Counter({Kind(name): count for name, count in record["counts"].items()})
        tally = Tally(target, record["next"], counts, seconds=record["seconds"])
        for entry in record["findings"]:
            verdict = Verdict.of(entry)
            tally.findings[verdict.signature] = Finding(entry["index"], verdict, entry["count"])
        return tally


def campaign(
    tally: Tally,
    stop: int,
    seconds: float = float("inf"),
    *,
    found: Callable[[int, Verdict], None] = lambda index, verdict: None,
    save: Callable[[], None] = lambda: None,
) -> None:
    """Go on from `tally.next` to `stop`, or until the time is up.

    `found` is told of what is new; `save` is called now and then, and at the end.
    """
    started = saved = time.monotonic()
    before = tally.seconds
    while tally.next < stop and time.monotonic() - started < seconds:
        with _worker(tally.target, tally.next, stop) as verdicts:
            for index, verdict in verdicts:
                if tally.add(index, verdict):
                    found(index, verdict)
                now = time.monotonic()
                tally.seconds = before + now - started
                if now - saved > _TURN:
                    saved = now
                    save()
                if now - started >= seconds:
                    break
    save()


def attempts(target: str, paths: Sequence[Path]) -> list[Verdict]:
    """The verdicts on files, in a process that they share until one ends it."""
    verdicts = list[Verdict]()
    while len(verdicts) < len(paths):
        with _worker(target, len(verdicts), len(paths), *paths) as made:
            verdicts += [verdict for _, verdict in made]
    return verdicts


def made(target: str, index: int) -> bytes:
    """The bytes of one input."""
    return _opened(target).make(generator(target, index))


def suffix(target: str) -> str:
    """The suffix of the files that hold a target's inputs."""
    return _opened(target).suffix


@cache
def _opened(target: str) -> Target:
    return open_target(target)


@contextmanager
def _worker(
    target: str, first: int, stop: int, *files: Path
) -> Iterator[Iterator[tuple[int, Verdict]]]:
    """The verdicts of a worker, which ends when the context does."""
    numbers = str(first), str(stop)
    command = [sys.executable, "-m", "tests.fuzz.worker", target, *numbers, *map(str, files)]
    alone = {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "PYTHONHASHSEED": "0"}
    with temporary() as folder, tempfile.TemporaryFile("w+") as log:
        environment = {**os.environ, **alone, "TMPDIR": folder}
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, env=environment
        ) as worker:
            try:
                yield _verdicts(worker, log)
            finally:
                worker.kill()


def _verdicts(worker: subprocess.Popen[bytes], log: IO[str]) -> Iterator[tuple[int, Verdict]]:
    """Each input's, in order; the last may be that of the input at which the worker ended."""
    begun: int | None = None
    for line in _lines(worker):
        record = json.loads(line)
        begun = record["index"]
        if "kind" in record:
            yield record["index"], Verdict.of(record)
            begun = None
    code = worker.wait()
    log.seek(0)
    said = log.read()
    if begun is not None:
        yield begun, _ended(code, said)
    elif code:
        raise RuntimeError(f"the worker ended with {code} between inputs: {said[-2000:]}")


def _lines(worker: subprocess.Popen[bytes]) -> Iterator[bytes]:
    pipe, rest, patience = worker.stdout, b"", _START
    assert pipe is not None
    while select.select([pipe], [], [], patience)[0]:
        patience = _SILENCE
        if not (chunk := os.read(pipe.fileno(), 1 << 16)):
            return
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
    worker.kill()


def _ended(code: int, said: str) -> Verdict:
    """A worker's end within an input: too long, out of memory, or a signal."""
    places = [f"{ours}:{name}" for file, name in _FRAME.findall(said) if (ours := of_ours(file))]
    where = places[0] if places else ""
    if "Timeout (" in said or code == -signal.SIGKILL:
        return Verdict(Kind.SLOW, "Timeout: by the clock", where)
    name = signal.Signals(-code).name if code < 0 else f"exit {code}"
    kind = Kind.MEMORY if "memory allocation" in said or "bad_alloc" in said else Kind.CRASH
    return Verdict(kind, f"{name}: {said.strip().splitlines()[0] if said.strip() else ''}", where)
