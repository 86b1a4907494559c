"""A worker: one process that tries one input after the other under limits of time and memory.

    python -m tests.fuzz.worker TARGET FIRST STOP [FILE...]

With files, input i is the content of the i-th.

It writes a line of JSON for each input to the pipe that was its standard output. Everything else
goes to its standard error, as does the traceback of a crash or of an input that takes too long.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import sys
import time
import warnings
from pathlib import Path
from typing import TextIO

import numpy as np

from qbnnc.support.errors import UserError
from tests.fuzz.target import Target, Unmade, generator
from tests.fuzz.targets import open_target
from tests.fuzz.verdict import Kind, Verdict, verdict_of

SECONDS = 10.0  # of the processor; a busy machine may take more by the clock
_PATIENCE = 6.0  # times as much by the clock, then the process ends with a traceback
MEMORY = 1 << 30  # bytes of address space above those of the imports and the seeds


def main() -> None:
    """Try the inputs FIRST..STOP of a target."""
    name, first, stop, *files = sys.argv[1:]
    pipe = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    faulthandler.enable()
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    target = open_target(name)
    _limit_memory()
    for index in range(int(first), int(stop)):
        try:
            kept = Path(files[index]).read_bytes() if files else None
            data = target.make(generator(name, index)) if kept is None else kept
        except Unmade as error:
            verdict = Verdict(Kind.UNMADE, str(error))
        else:
            _tell(pipe, {"index": index})
            verdict = tried(target, data)
        _tell(pipe, {"index": index, **verdict.record()})


def tried(target: Target, data: bytes) -> Verdict:
    """The verdict on one input; the process ends if it takes far too long."""
    faulthandler.dump_traceback_later(SECONDS * _PATIENCE, exit=True)
    start = time.process_time()
    try:
        verdict = target.attempt(data)
    except UserError as error:
        verdict = Verdict(Kind.REFUSED, str(error)[:300])
    except Exception as error:
        verdict = verdict_of(error)
    finally:
        faulthandler.cancel_dump_traceback_later()
    spent = time.process_time() - start
    if spent > SECONDS and not verdict.kind.is_fault:
        return Verdict(Kind.SLOW, f"{spent:.0f} s: {verdict.kind.value}: {verdict.detail}")
    return verdict


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _tell(pipe: TextIO, record: dict[str, object]) -> None:
    pipe.write(json.dumps(record) + "\n")
    pipe.flush()


if __name__ == "__main__":
    main()
