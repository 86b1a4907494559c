"""The mutation run: every source has tests, and mutants are what they are said to be."""

from __future__ import annotations

import ast
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.mutants import trials
from tests.mutants.equivalent import reasons
from tests.mutants.mutations import Mutation, mutations
from tests.mutants.reach import reach_of
from tests.mutants.record import Record
from tests.mutants.table import ROOT, SCOPE, TABLE, module, pattern_of, sources, watching_tests
from tests.mutants.trials import PASSED_SO_FAR, Outcome, Trial, outcomes


def changes(source: str) -> set[str]:
    """Each change of a function f, without its name."""
    return {m.name.partition(" f: ")[2] for m in mutations("a.py", source)}


def test_every_source_has_tests() -> None:
    for path in sources():
        assert (ROOT / path).is_file()
        assert all((ROOT / name).is_file() for name in watching_tests(path)), path


def test_every_pattern_finds_a_source() -> None:
    assert {pattern_of(path) for path in sources()} == TABLE.keys()
    for pattern in SCOPE:
        assert any(fnmatch(path, pattern.replace("**/", "*")) for path in sources()), pattern


def test_every_equivalent_mutant_exists() -> None:
    paths = {name.partition(" ")[0] for name in reasons()}
    names = {mutation.name for path in paths for mutation in mutated(path)}
    assert reasons().keys() <= names
    assert all(len(reason) > 20 for reason in reasons().values())


def mutated(path: str) -> list[Mutation]:
    return [*mutations(path, (ROOT / path).read_text(encoding="utf-8"))]


@pytest.mark.parametrize("path", ["ir/bounds.py", "passes/head/intervals.py", "runtime/metrics.py"])
def test_every_mutant_is_another_program(path: str) -> None:
    source, found = ast.parse((ROOT / path).read_text(encoding="utf-8")), mutated(path)
    assert len({mutation.name for mutation in found}) == len(found) > 50
    for mutation in found[::5]:
        assert ast.dump(ast.parse(mutation.source)) != ast.dump(source)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(a, b):\n    return a + b", {"a + b -> a - b"}),
        ("def f(a, b):\n    return a < b", {"a < b -> a <= b"}),
        ("def f(a):\n    return not a", {"not a -> a"}),
        ("def f(a, b):\n    return a and b", {"a and b -> a or b", "a and b -> a"}),
        ("def f(a):\n    return a[0]", {"a[0] -> a[1]"}),
        ("def f(a):\n    return a[1:]", {"a[1:] -> a[:]", "1: -> 2:"}),
        ("def f(a, b):\n    return min(a, b)", {"min(a, b) -> max(a, b)", "min(a, b) -> a"}),
        ("def f(a):\n    return np.rint(a)", {"np.rint(a) -> np.floor(a)", "np.rint(a) -> a"}),
        ("def f(a):\n    return g(a, b=a)", {"g(a, b=a) -> g(a)"}),
        ("def f(a, *, b=True):\n    return a", {"True -> False"}),
        ("def f(a):\n    a += a", {"a += a -> a -= a"}),
        ("def f(a):\n    a.append(a)", {"a.append(a) -> pass"}),
        ("def f(a, b):\n    return a if b else 2.5", {
            "a if b else 2.5 -> 2.5 if b else a",
            "a if b else 2.5 -> a if b else 5.0",
            "a if b else 2.5 -> a if not b else 2.5",
        }),
        ("def f(a: int | None = None) -> A | B:\n    raise ValueError(f'{a + 1}' + str(a))", set()),
        ("def f(a):\n    '''A text of 1 + 1.'''\n    assert a > 0", set()),
    ],
)  # fmt: skip
def test_what_is_changed(source: str, expected: set[str]) -> None:
    assert changes(source) == expected


def test_equal_changes_have_numbers() -> None:
    source = "def f(a):\n    return g(a[0]) - h(a[0])"
    assert {"a[0] -> a[1]", "a[0] -> a[1] #2"} <= changes(source)


def trial(source: str, name: str = "mutant") -> Trial:
    return Trial(name, "ir/rng.py", source, ("tests/ir/test_rng.py",))


@pytest.mark.slow
def test_trials_tell_a_mutant_from_the_original(tmp_path: Path) -> None:
    """Also one that cannot be imported."""
    source = (ROOT / "ir" / "rng.py").read_text(encoding="utf-8")
    threshold = "np.rint(p * 65536)"
    assert threshold in source
    tried = [
        trial(source, "original"),
        trial(source.replace(threshold, "np.floor(p * 65536)"), "floor"),
        trial("import nowhere", "import"),
    ]
    found = {outcome.trial.name: outcome for outcome in outcomes(tried, 2, tmp_path)}
    assert {name: outcome.noticed for name, outcome in found.items()} == {
        "original": False,
        "floor": True,
        "import": True,
    }
    assert not [*tmp_path.iterdir()]


def test_a_mutant_that_never_ends_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "_BUDGET", 0.0)
    monkeypatch.setattr(trials, "_STARTING", 1.0)
    (outcome,) = outcomes([trial("while True:\n    pass")], 1, tmp_path)
    assert (outcome.noticed, outcome.how) == (True, "out of time")


@pytest.mark.slow
def test_a_mutant_has_the_tests_that_reach_its_lines(tmp_path: Path) -> None:
    """The quickest first; all tests if none runs the line, as when its module is imported."""
    tests = "tests/ir/test_rng.py"
    whole = Trial("as it is", tests, "", (tests,), reach=tmp_path)
    (outcome,) = outcomes([whole], 1, tmp_path)
    assert (outcome.noticed, outcome.how) == (False, "passed")
    reach = reach_of([tests], tmp_path)
    lines = (ROOT / "ir" / "rng.py").read_text(encoding="utf-8").splitlines()
    (threshold,) = [number for number, line in enumerate(lines, 1) if "np.rint(p * 65536)" in line]
    found = reach.tests("ir/rng.py", [threshold])
    seconds = [reach.seconds[test] for test in found]
    assert 0 < len(found) < len(reach.seconds)
    assert seconds == sorted(seconds)
    assert {*reach.tests("ir/rng.py", [1])} == {*reach.seconds}
    (floored,) = [m for m in mutated("ir/rng.py") if "np.floor(p * 65536)" in m.name]
    one = Trial(floored.name, "ir/rng.py", floored.source, found)
    assert [outcome.noticed for outcome in outcomes([one], 1, tmp_path)] == [True]


def test_a_record_knows_what_ran(tmp_path: Path) -> None:
    file = tmp_path / "outcomes.jsonl"
    one, other = trial("a = 1"), trial("a = 2")
    Record(file).add(Outcome(one, noticed=True, how="a test failed", seconds=1.25))
    known = Record(file).known(one)
    assert known is not None
    assert (known.noticed, known.seconds) == (True, 1.25)
    assert Record(file).known(other) is None


def test_a_survivor_is_tried_again_when_tests_change(tmp_path: Path) -> None:
    file, one = tmp_path / "outcomes.jsonl", trial("a = 1")
    Record(file).add(Outcome(one, noticed=False, how="passed", seconds=1.0))
    assert Record(file).known(one) is not None
    known = Record(file).known(one)
    assert known is not None
    file.write_text(file.read_text().replace(known.tests, "other"))
    assert Record(file).known(one) is None


def test_a_survivor_whose_time_was_up_is_tried_thoroughly(tmp_path: Path) -> None:
    """Once: it may be that no trial is long enough for all tests."""
    file, quick = tmp_path / "outcomes.jsonl", trial("a = 1")
    thorough = replace(quick, thorough=True)
    Record(file).add(Outcome(quick, noticed=False, how=PASSED_SO_FAR, seconds=1.0))
    assert Record(file).known(quick) is not None
    assert Record(file).known(thorough) is None
    Record(file).add(Outcome(thorough, noticed=False, how=PASSED_SO_FAR, seconds=1.0))
    assert Record(file).known(quick) is not None
    assert Record(file).known(thorough) is not None


def test_a_survivor_of_all_its_tests_is_not_tried_again(tmp_path: Path) -> None:
    file, quick = tmp_path / "outcomes.jsonl", trial("a = 1")
    Record(file).add(Outcome(quick, noticed=False, how="passed", seconds=1.0))
    assert Record(file).known(replace(quick, thorough=True)) is not None


def test_names_of_modules() -> None:
    assert module("ir/rng.py") == "qbnnc.ir.rng"
    assert module("passes/__init__.py") == "qbnnc.passes"
