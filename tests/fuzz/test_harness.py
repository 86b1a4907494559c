"""The promises of the harness: inputs by number, true signatures, and faults that are seen."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from random import Random

import numpy as np
import pytest

from qbnnc.ir import format
from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_samples
from tests.fuzz import models, trees
from tests.fuzz.campaign import Tally, _ended
from tests.fuzz.models import ModelTarget
from tests.fuzz.signing import Parts, signed, text
from tests.fuzz.target import generator
from tests.fuzz.verdict import ROOT, Kind, Verdict, WrongAnswer, verdict_of
from tests.golden import golden
from tests.guard_pages import Side, fenced_bytes
from tests.runtime import nets


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("side", "offset"), [(Side.AFTER, 128), (Side.BEFORE, -1), (Side.AFTER, 127), (Side.BEFORE, 0)]
)
def test_one_byte_past_a_fence_ends_the_process(side: Side, offset: int) -> None:
    code = (
        "import ctypes\n"
        "from tests.guard_pages import Side, fenced_bytes\n"
        f"array = fenced_bytes(128, Side({side.value!r}))\n"
        f"ctypes.c_uint8.from_address(array.ctypes.data + {offset}).value\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True)
    inside = 0 <= offset < 128
    assert (ended.returncode == 0) == inside
    assert inside or ended.returncode < 0


def test_fenced_bytes_can_be_written_to() -> None:
    for side in Side:
        array = fenced_bytes(200, side)
        array[:] = 7
        assert array.sum() == 1400
    assert not fenced_bytes(0, Side.AFTER).size


@pytest.mark.parametrize("make", [nets.mlp, nets.resnet])
def test_what_is_signed_again_is_the_same_file(make: Callable[[], Model]) -> None:
    model = make()
    data = format.to_bytes(model)
    assert format.digest(format.from_bytes(signed(Parts.of(data)))) == format.digest(model)


def test_files_of_version_1_are_signed_by_their_rule() -> None:
    data = golden("float.qbnn")
    model = format.from_bytes(signed(Parts.of(data)))
    assert format.digest(model) == format.digest(format.from_bytes(data))


def test_numbers_that_only_json_can_say() -> None:
    assert text({"a": f"{trees.RAW}1e999", "b": [f"{trees.RAW}NaN", "1e3"]}) == (
        '{"a":1e999,"b":[NaN,"1e3"]}'
    )


@pytest.mark.few(0)
def test_an_input_depends_on_its_number_alone() -> None:
    first, second = ModelTarget(), ModelTarget()
    for index in (3, 5, 8):
        second.make(generator("qbnn", index + 1))
        made = first.make(generator("qbnn", index))
        assert made == second.make(generator("qbnn", index))


def test_a_mutation_changes_something() -> None:
    honest = {"a": [1, 2, {"b": "x", "c": 1.5}], "d": True, "e": None}
    changed = 0
    for seed in range(200):
        tree = json.loads(json.dumps(honest))
        trees.mutate(Random(seed), tree)
        changed += tree != honest
    assert changed > 150


def test_findings_are_counted_once_and_resumed() -> None:
    try:
        raise ZeroDivisionError("1 by 0")
    except ZeroDivisionError as error:
        fault = verdict_of(error)
    tally = Tally("qbnn", 10)
    assert [tally.add(10, fault), tally.add(11, fault)] == [True, False]
    tally.add(12, Verdict(Kind.RAN))
    tally.add(13, Verdict(Kind.REFUSED, "x"))
    again = Tally.of("qbnn", json.loads(json.dumps(tally.record())))
    assert again.record() == tally.record()
    assert (again.next, again.inputs, again.checked) == (14, 4, 1)
    assert [f.count for f in again.findings.values()] == [2]


def test_a_crash_is_a_verdict() -> None:
    """A worker that a signal ends is told of, with the input it had; the next inputs go on."""
    ended = _ended(-11, "Fatal Python error: Segmentation fault\n")
    assert (ended.kind, ended.detail.split(":")[0]) == (Kind.CRASH, "SIGSEGV")
    assert _ended(1, "Timeout (0:00:25)!\n").kind is Kind.SLOW
    assert _ended(-6, "memory allocation of 99 bytes failed\n").kind is Kind.MEMORY


def test_a_wrong_answer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the oracle said something else, the target would say so."""
    target = ModelTarget()

    def other(*args: object, **more: object) -> tuple[object, ...]:
        # The arguments are handed on as they come, whatever their types are.
        made = oracle_samples(*args, **more)  # type: ignore[arg-type]  # as a fuzzer would
        return tuple(np.asarray(a) + np.float32(1) for a in made)

    monkeypatch.setattr(models, "oracle_samples", other)
    with pytest.raises(WrongAnswer):
        _try_all(target.files[:20], target)  # a batch of no rows has no answer


def _try_all(files: list[bytes], target: ModelTarget) -> None:
    for data in files:
        target.attempt(data)
