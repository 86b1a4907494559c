"""Inputs of .onnx files: row ids, and defaults."""

import numpy as np
import onnx
import onnxruntime
import pytest

from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.embedded_model import read_model
from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.ir import format
from qbnnc.ir.oracle import oracle_samples
from qbnnc.support.errors import InputError
from tests.backends.equality import same_bits
from tests.runtime.nets import images, lenet

MODEL = lenet()
X, IDS = images(MODEL, 3), np.array([9, 2, 9])


def session(data: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("seed", [0, 7, -1, 2**64 - 5, 2**70 + 3])
def test_the_defaults_are_a_seed_and_row_0(seed: int) -> None:
    data = emit(MODEL, default_seed=seed)
    (found,) = session(data).run(["samples"], {"input": X})
    (want,) = oracle_samples(MODEL, X, samples=MODEL.samples, seed=seed)
    assert same_bits(found, want)
    assert OnnxArtefact.from_bytes(data).description.default_seed == seed % 2**64


def test_what_is_given_is_taken_in_place_of_the_defaults() -> None:
    given = {"seed": np.array(3), "first_row": np.array(5)}
    (found,) = session(emit(MODEL, default_seed=7)).run(["samples"], {"input": X, **given})
    (want,) = oracle_samples(MODEL, X, samples=MODEL.samples, seed=3, first_row=5)
    assert same_bits(found, want)


def test_a_seed_alone_is_optional_beside_row_ids() -> None:
    data = emit(MODEL, default_seed=7, row_ids=True)
    (found,) = session(data).run(["samples"], {"input": X, "row_ids": IDS})
    (want,) = oracle_samples(MODEL, X, samples=MODEL.samples, seed=7, row_ids=IDS)
    assert same_bits(found, want)
    with pytest.raises(ValueError, match="row_ids"):
        session(data).run(["samples"], {"input": X})


@pytest.mark.parametrize("ids", [[4], [4, 5], [4, 5, 6, 7]])
def test_the_file_itself_refuses_another_number_of_ids(ids: list[int]) -> None:
    """One id is not taken for all rows."""
    feed = {"input": X, "row_ids": np.array(ids), "seed": np.array(1)}
    with pytest.raises(Exception, match="reshape"):
        session(emit(MODEL, row_ids=True)).run(["samples"], feed)


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("batch", [None, 2])
def test_row_ids_with_other_options(inline: bool, batch: int | None) -> None:
    data = emit(MODEL, row_ids=True, inline=inline, batch=batch)
    found = OnnxArtefact.from_bytes(data).predict(X, seed=4, row_ids=IDS)["samples"]
    (want,) = oracle_samples(MODEL, X, samples=MODEL.samples, seed=4, row_ids=IDS)
    assert same_bits(found, want)
    assert format.digest(read_model(data)) == format.digest(MODEL)
    names = [value.name for value in onnx.load_model_from_string(data).graph.input]
    assert names == ["input", "seed", "row_ids"]


def test_our_sessions_load_defaults_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    OnnxArtefact.from_bytes(emit(MODEL, default_seed=7)).predict(X)
    assert capfd.readouterr() == ("", "")


def test_usual_files_are_as_they_were() -> None:
    graph = onnx.load_model_from_string(emit(MODEL)).graph
    assert [value.name for value in graph.input] == ["input", "seed", "first_row"]
    assert not {value.name for value in graph.input} & {each.name for each in graph.initializer}


def test_a_default_seed_that_is_no_number() -> None:
    with pytest.raises(InputError, match="default_seed"):
        emit(MODEL, default_seed=1.5)  # type: ignore[arg-type]  # what is refused
