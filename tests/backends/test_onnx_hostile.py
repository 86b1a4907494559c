"""Metadata that another wrote into a file: refused, or without effect; never a traceback."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import onnx
import pytest

from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.content_digest import KEY
from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.support.errors import ArtefactWarning, FileError
from tests.strategies import random_integer_model
from tests.tokens import integer_model


@pytest.fixture(scope="module")
def of_parts() -> bytes:
    """A file of two inputs of real numbers, "in0" and "in1"."""
    return emit(random_integer_model(0, ops="parts"))


@pytest.fixture(scope="module")
def of_ids() -> bytes:
    """A file of ids [1, 2, 4]."""
    return emit(integer_model(4))


def changed(data: bytes, properties: Mapping[str, str], extent: int | None = None) -> bytes:
    """A file without a digest, with other properties, and other extents of all axes."""
    proto = onnx.load_model_from_string(data)
    stored = {entry.key: entry.value for entry in proto.metadata_props} | dict(properties)
    del proto.metadata_props[:]
    for key, value in stored.items():
        if key != KEY:
            proto.metadata_props.add(key=key, value=value)
    for value in proto.graph.input:
        for axis in value.type.tensor_type.shape.dim[1:] if extent is not None else ():
            axis.dim_value = extent or 0
    return bytes(proto.SerializeToString())


def opened(data: bytes) -> OnnxArtefact:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ArtefactWarning)
        return OnnxArtefact.from_bytes(data)


VOCABULARIES = ["", "x", "5", "5x", "-5x8", f"5x{10**18}", f"5x{'9' * 4000}", "9" * 5000, "nan"]


@pytest.mark.parametrize("text", VOCABULARIES)
def test_a_vocabulary_that_is_none_of_the_rows(of_parts: bytes, of_ids: bytes, text: str) -> None:
    for data in (of_parts, of_ids):
        with pytest.raises(FileError, match="metadata was changed") as error:
            opened(changed(data, {"vocabulary": text}))
        assert len(str(error.value)) < 300


@pytest.mark.parametrize("extent", [0, -1, -8, 2**28, 2**40, 2**62, 2**63 - 1])
def test_rows_of_no_size(of_parts: bytes, of_ids: bytes, extent: int) -> None:
    for data in (of_parts, of_ids):
        for numbers in ({}, {"vocabulary": f"5x{max(extent, 1) ** 3}"}):
            with pytest.raises(FileError, match="changed"):
                opened(changed(data, numbers, extent))


def test_many_rows_of_a_great_size(of_ids: bytes) -> None:
    """Each axis is within its limit, and all of them together are not."""
    with pytest.raises(FileError, match="number of elements"):
        opened(changed(of_ids, {"vocabulary": f"5x{2**60}"}, 2**20))


NAMES = [
    *("[", "[" * 100_000, "{}", "null", "[]", '"ab"', "[1, 2]", "[null, true]", "[1e999, NaN]"),
    *('["a"]', '["a", "a"]', '["a", "a", "b"]', '["", "b"]', '["\\ud800", "b"]', '["a\\n", "b"]'),
    *(f'["{"a" * 2000}", "b"]', f"[{'9' * 5000}, 1]", '["a", ["b"]]'),
]


@pytest.mark.parametrize("text", NAMES)
def test_names_that_are_none_are_the_files_own(of_parts: bytes, text: str) -> None:
    artefact = opened(changed(of_parts, {"inputs": text}))
    assert [entry.name for entry in artefact.description.entries] == ["in0", "in1"]
    made = artefact.predict(np.zeros((2, *artefact.input_shape), np.float32))
    honest = OnnxArtefact.from_bytes(of_parts).predict(np.zeros((2, *artefact.input_shape)))
    assert (made["samples"] == honest["samples"]).all()


def test_other_names_are_taken(of_parts: bytes) -> None:
    artefact = opened(changed(of_parts, {"inputs": '["left image", "rechts ä"]'}))
    assert [entry.name for entry in artefact.description.entries] == ["left image", "rechts ä"]
