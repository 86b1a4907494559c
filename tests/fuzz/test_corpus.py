"""Every input that ever failed: now it is refused for what is wrong with it, or runs as defined.

`corpus/expected.json` says for each file the target, the verdict, and words of a refusal. Files
made by hand (`hostile.py`) are listed here.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.examples import slow_but
from tests.fuzz.campaign import attempts
from tests.fuzz.hostile import HOSTILE
from tests.fuzz.targets import MODULES
from tests.fuzz.verdict import Kind, Verdict

CORPUS = Path(__file__).parent / "corpus"
EXPECTED: dict[str, dict[str, str]] = json.loads((CORPUS / "expected.json").read_text())
RUNS = ""
BY_HAND = {
    "member_with_more_outputs": "member 1 is another network than member 0",
    "pool_dilation": "9223372036854775808, and it must be at most",
    "pool_read": "18446744073776660480, and it must be at most",
    "pool_stride": "max_pool2d: the stride: 9223372036854775807, and it must be at most",
    "conv_halo": "an image with its padding: 5000800032, and it must be at most",
    "conv_halo_wide": "conv2d_integer: the stride: 3000000000, and it must be at most",
    "depthwise": "9223372036854775808, and it must be at most",
    "lookup": "lookup: the table holds 255..255, and its codes are 0..3",
    "add": "add_quantized: 0..255 is outside 0..3",
    "constant_output": "transpose: computes on a float32 constant",
    "false_proof": "lookup: the table holds 255..255, and its codes are 0..3",
    "many_ranges": RUNS,
    "many_reshapes": RUNS,
    "many_turns": RUNS,
    "infinite_draws": "the number 1e999 is too large",
    "negative_shape": "the extent of an axis: -2, and it must be at least 1",
    "bias_of_int32": "takes i8 codes and noise, not i32",
    "many_masks": RUNS,
    "a_number_beyond_the_choice": "codes outside 0..2",
    "choice_of_more": "does not choose from",
    "a_weight_for_each_row": "a weight or bias is the same for all rows",
    "falling_thresholds": "in rising order",
    "an_empty_graph": "there are values that no output needs",
}


def is_as_expected(verdict: Verdict, kind: Kind, says: str) -> bool:
    return verdict.kind is kind and says in verdict.detail


def test_each_file_of_the_corpus_has_an_expectation() -> None:
    files = {path.name for path in CORPUS.iterdir()} - {"expected.json"}
    assert files == EXPECTED.keys()
    assert HOSTILE.keys() == BY_HAND.keys()


@pytest.mark.parametrize(
    "target", slow_but(["npz"], sorted({entry["target"] for entry in EXPECTED.values()}))
)
def test_the_corpus(target: str) -> None:
    assert target in MODULES
    names = [name for name, entry in EXPECTED.items() if entry["target"] == target]
    verdicts = attempts(target, [CORPUS / name for name in names])
    wrong = {
        name: verdict
        for name, verdict in zip(names, verdicts, strict=True)
        if not is_as_expected(verdict, Kind(EXPECTED[name]["kind"]), EXPECTED[name]["says"])
    }
    assert not wrong


@pytest.mark.slow
def test_files_made_by_hand(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.qbnn" for name in HOSTILE]
    for path, make in zip(paths, HOSTILE.values(), strict=True):
        path.write_bytes(make())
    wrong = {
        path.stem: verdict
        for path, verdict in zip(paths, attempts("qbnn", paths), strict=True)
        if not is_as_expected(
            verdict, Kind.REFUSED if BY_HAND[path.stem] else Kind.RAN, BY_HAND[path.stem]
        )
    }
    assert not wrong
