"""Statistics of samples, against formulas written out; and batches that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from qbnnc.ir.codec import decode, encode
from qbnnc.ir.head import Head, Task
from qbnnc.ir.outputs import role_of
from qbnnc.ir.types import PER_ROW, DType, TensorType
from qbnnc.support.errors import FileError, InputError, UserError
from qbnnc.support.files import read_bytes, write_atomically
from qbnnc.support.inputs import as_batch, as_integer

LOGITS = np.random.default_rng(0).normal(size=(6, 4, 3)).astype(np.float32) * 4


def test_classification() -> None:
    found = Head(Task.CLASSIFICATION).evaluate((LOGITS,))
    p = torch.softmax(torch.from_numpy(LOGITS).double(), 2)
    entropy = torch.special.entr(p.mean(0)).sum(1)
    np.testing.assert_allclose(found["probabilities"], p.mean(0), atol=1e-7)
    np.testing.assert_allclose(found["entropy"], entropy, atol=1e-6)
    information = entropy - torch.special.entr(p).sum(2).mean(0)
    np.testing.assert_allclose(found["mutual_information"], information, atol=1e-6)
    assert (found["mutual_information"] >= -1e-7).all()


def test_certain_logits_have_no_entropy() -> None:
    sure = np.array([[[1e4, 0, -1e4]]], np.float32)
    found = Head(Task.CLASSIFICATION).evaluate((sure,))
    assert found["entropy"].tolist() == [0.0]
    assert found["probabilities"].tolist() == [[1.0, 0.0, 0.0]]


def test_regression_variance_is_aleatoric_plus_epistemic() -> None:
    mu, log_var = LOGITS[..., :1], LOGITS[..., 1:2] / 4
    found = Head(Task.REGRESSION).evaluate((mu, log_var))
    np.testing.assert_allclose(found["mean"], mu.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found["epistemic"], mu.var(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found["aleatoric"], np.exp(log_var).mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(
        found["variance"], found["aleatoric"] + found["epistemic"], rtol=1e-6
    )


def test_one_output_regression_has_no_aleatoric_part() -> None:
    found = Head(Task.REGRESSION).evaluate((LOGITS,))
    assert list(found) == ["mean", "epistemic", "variance"]


def test_an_overflowing_log_variance_is_infinite_not_an_error() -> None:
    big = np.full((2, 1, 1), 1000, np.float32)
    assert np.isinf(Head(Task.REGRESSION).evaluate((big, big))["variance"]).all()


def test_names_of_several_raw_outputs() -> None:
    head = Head(Task.RAW)
    assert head.sample_names(2) == ("samples_0", "samples_1")
    assert head.statistic_names(2) == ("mean_0", "variance_0", "mean_1", "variance_1")
    assert list(head.evaluate((LOGITS, LOGITS))) == list(head.statistic_names(2))


@pytest.mark.parametrize(
    ("task", "shapes"),
    [
        (Task.CLASSIFICATION, [(3,), (3,)]),
        (Task.REGRESSION, [(1,), (2,)]),
        (Task.REGRESSION, [(1,), (1,), (1,)]),
    ],
)
def test_outputs_that_do_not_fit_the_task(task: Task, shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(UserError, match=rf"task {task.value} needs .* use `task='raw'`"):
        Head(task).check(tuple(TensorType(DType.F32, s, PER_ROW) for s in shapes))


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.uint8, np.int64, np.bool_])
def test_numbers_are_cast(dtype: type) -> None:
    batch = as_batch(np.ones((2, 3), dtype), (3,))
    assert batch.dtype == np.float32
    assert batch.shape == (2, 3)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones((2, 4)), r"shape is \[2, 4\], and the network takes \[batch, 3\]"),
        (np.ones(3), r"shape is \[3\]"),
        (1.0, r"shape is \[\]"),
        (np.ones((2, 3), complex), "complex128"),
        (np.array([["a"] * 3]), "real numbers"),
        (np.array([[None] * 3]), "object"),
        ([[1.0, 2.0, 3.0], [1.0]], "not an array"),
        (np.array([[1.0, np.nan, 2.0]]), "NaN in row 0"),
    ],
)
def test_batches_that_are_refused(x: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        as_batch(x, (3,))


def test_an_empty_batch_is_a_batch() -> None:
    assert as_batch(np.ones((0, 3)), (3,)).shape == (0, 3)


@pytest.mark.parametrize("value", [1.5, "7", None, True])
def test_a_seed_is_a_whole_number(value: object) -> None:
    with pytest.raises(InputError, match=r"seed: .* is not a whole number"):
        as_integer(value, "seed")
    assert as_integer(np.int64(7), "seed") == 7


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert read_bytes(path) == b"new"
    with pytest.raises(FileError, match="cannot be written"):
        write_atomically(tmp_path / "missing" / "a.bin", b"x")
    with pytest.raises(FileError, match="is a folder"):
        write_atomically(tmp_path, b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_reading_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"a\.qbnn: cannot be read \(no such file"):
        read_bytes(tmp_path / "a.qbnn")
    (tmp_path / "empty").touch()
    with pytest.raises(FileError, match="the file is empty"):
        read_bytes(tmp_path / "empty")


SECOND = np.random.default_rng(1).normal(size=(6, 4, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("spread", "second", "variance"),
    [
        ("log_var", SECOND, torch.from_numpy(SECOND).double().exp()),
        ("variance", SECOND**2, torch.from_numpy(SECOND**2).double()),
        ("std", SECOND, torch.from_numpy(SECOND).double() ** 2),
        ("log_std", SECOND, torch.from_numpy(SECOND).double().exp() ** 2),
    ],
)
def test_the_second_output_of_a_regression(
    spread: str, second: NDArray[np.float32], variance: torch.Tensor
) -> None:
    head = Head(Task.REGRESSION, ("mean", spread))
    found = head.evaluate((LOGITS, second))
    mean = torch.from_numpy(LOGITS).double()
    np.testing.assert_allclose(found["aleatoric"], variance.mean(0), rtol=1e-6)
    whole = variance.mean(0) + mean.var(0, correction=0)
    np.testing.assert_allclose(found["variance"], whole, rtol=1e-6)
    assert head.sample_names(2) == ("samples", f"samples_{spread}")


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 1), (6, 4, 1, 2, 3)])
def test_one_logit_is_that_of_class_1(shape: tuple[int, ...]) -> None:
    logits = np.random.default_rng(2).normal(size=shape).astype(np.float32) * 30
    found = Head(Task.CLASSIFICATION).evaluate((logits,))
    p = torch.sigmoid(torch.from_numpy(logits).double())
    each = torch.stack([1 - p, p], 2) if len(shape) == 2 else torch.cat([1 - p, p], 2)
    mean = each.mean(0)
    np.testing.assert_allclose(found["probabilities"], mean, atol=1e-7)
    entropy = torch.special.entr(mean).sum(1)
    np.testing.assert_allclose(found["entropy"], entropy, atol=1e-6)
    information = entropy - torch.special.entr(each).sum(2).mean(0)
    np.testing.assert_allclose(found["mutual_information"], information, atol=1e-6)


def test_raw_outputs_have_names_that_clash_with_none() -> None:
    head = Head(Task.RAW, ("a b", "a-b", "mean", "samples", "", "µ"))
    names = head.sample_names(6) + head.statistic_names(6)
    assert names[:6] == (
        "samples_a_b", "samples_a_b_2", "samples_mean", "samples_samples", "samples_4", "samples_μ",
    )  # fmt: skip
    assert len({*names}) == 18
    assert all(name.isidentifier() for name in names)


@pytest.mark.parametrize(
    ("head", "count"),
    [
        (Head(Task.RAW, ("a",)), 2),
        (Head(Task.REGRESSION, ("mean", "what")), 2),
        (Head(Task.REGRESSION, ("log_var", "mean")), 2),
    ],
)
def test_names_that_do_not_fit_are_refused(head: Head, count: int) -> None:
    with pytest.raises(UserError):
        head.check((TensorType(DType.F32, (3,), PER_ROW),) * count)


def test_a_head_without_names_is_written_as_ever() -> None:
    """So that the digests of older artefacts stay what they were."""
    assert encode(Head(Task.REGRESSION)) == {"task": "regression"}
    named = Head(Task.REGRESSION, ("mean", "std"))
    assert decode(Head, encode(named)) == named


@pytest.mark.parametrize(
    ("role", "names"),
    [
        ("mean", "mean mu loc Mean y_mean pred_mu"),
        ("log_var", "log_var logvar logVar lv log_variance y_log_var noise_logvar log_sigma2"),
        ("variance", "var variance sigma2 aleatoric_var sigma_sq"),
        ("std", "sigma std scale stddev pred_std"),
        ("log_std", "log_std log_sigma logscale"),
        (None, "out y rho precision inv_var raw_var log_inv_var unc epistemic alpha logits kl"),
    ],
)
def test_names_that_tell(role: str | None, names: str) -> None:
    assert {name: role_of(name) for name in names.split()} == dict.fromkeys(names.split(), role)
