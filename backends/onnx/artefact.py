"""The description of an ONNX file of ours, read without running it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qbnnc.backends.onnx.content_digest import check_content
from qbnnc.backends.onnx.names import (
    ALSO,
    AXES,
    DEFAULT_SEED,
    FIRST_ROW,
    IDS,
    INPUT,
    INPUTS,
    MODEL,
    PRODUCER,
    RNG_CHECK,
    ROW_IDS,
    SEED,
    VALUE,
    member_prefix,
)
from qbnnc.backends.onnx.proto import FLOAT, INT32, INT64, File, ValueInfo
from qbnnc.ir.head import Head, Task
from qbnnc.ir.types import Array
from qbnnc.support import limits
from qbnnc.support.errors import FileError
from qbnnc.support.id_rows import Rows, vocabularies_from
from qbnnc.support.inputs import MOST_ROWS_AT_ONCE
from qbnnc.support.several_inputs import Entries, Entry, row_shape

_NUMBERS = (SEED, FIRST_ROW, ROW_IDS)
_REQUIRED = frozenset({"digest", "task", "samples", "members", "method", "version"})


@dataclass(frozen=True, slots=True)
class StoredValue:
    """A value of the IR in the file: its name there, and what it varies with ("row,sample")."""

    name: str
    axes: str


@dataclass(frozen=True, slots=True)
class Description:
    """`properties` are the file's metadata_props, `values` the IR's values by their IR names.

    `entries` are the inputs, and `input_names` their names in the file, which may be others.
    `output_names` are samples and statistics. `output_size` counts the elements of one sample of
    one row, of all outputs. `batch` is the number of rows that the file takes, if it is fixed.
    `rng_check` tells whether it has that output, and `row_ids` whether it has that input, in place
    of `first_row`. `takes_ids` says that the input is int64: it holds ids alone.
    `statistic_shapes` are those of one row.
    """

    properties: Mapping[str, str]
    entries: Entries
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    output_size: int
    values: Mapping[str, StoredValue]
    batch: int | None
    rng_check: bool
    row_ids: bool
    takes_ids: bool
    statistic_shapes: Mapping[str, tuple[int, ...]]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one row, in which several inputs follow one another."""
        return row_shape(self.entries)

    def parts(self, batch: Array) -> dict[str, Array]:
        """The inputs of the file, of rows in which several follow one another."""
        if len(self.entries) == 1:
            return {self.input_names[0]: batch}
        parts = (np.ascontiguousarray(entry.of(batch)) for entry in self.entries)
        return dict(zip(self.input_names, parts, strict=True))

    @property
    def digest(self) -> str:
        """The SHA-256 of the Model the file was made from."""
        return self.properties["digest"]

    @property
    def method(self) -> str:
        return self.properties["method"]

    @property
    def bits(self) -> str:
        return self.properties.get("bits", "")

    @property
    def samples(self) -> int:
        """The number of samples L."""
        return int(self.properties["samples"])

    @property
    def members(self) -> int:
        return int(self.properties["members"])

    @property
    def default_seed(self) -> int | None:
        """The seed of a caller that gives none; None if it must be given."""
        text = self.properties.get(DEFAULT_SEED)
        return None if text is None else int(text)

    @property
    def head(self) -> Head:
        names = self.properties.get("outputs", "")
        return Head(Task(self.properties["task"]), tuple(names.split(",")) if names else ())

    @property
    def rows(self) -> Rows:
        """The shape of a row, and the vocabularies of its ids; ValueError if these are wrong."""
        text = self.properties.get(IDS)
        known = None if text is None else vocabularies_from(text, self.input_shape)
        return Rows(self.input_shape, known, self.entries)

    @property
    def embedded(self) -> bool:
        """Whether the file holds the Model that it was made from."""
        return MODEL in self.properties

    @property
    def sample_names(self) -> tuple[str, ...]:
        """The outputs that hold samples; the others are statistics."""
        return self.head.sample_names(_outputs(self.output_names))


def read_file(data: bytes, path: str | os.PathLike[str]) -> tuple[File, Description]:
    """An ONNX file of ours and its description; FileError if it is none, or was changed.

    ArtefactWarning for an old one, which cannot say whether it was.
    """
    try:
        file = File.of(data)
        if file.producer == PRODUCER:
            description = describe(file, path)
            check_content(file, path)
            return file, description
    except ValueError:
        raise FileError(
            "not an ONNX file, or truncated",
            path,
            remedy="give a file made by qbnnc, or copy it again",
        ) from None
    raise FileError(
        "not made by qbnnc: only ONNX files that qbnnc compiled can be run, verified and inspected",
        path,
        remedy="compile the PyTorch model",
    )


def describe(file: File, path: str | os.PathLike[str]) -> Description:
    """The description that a file holds of itself; FileError if a part is missing or wrong.

    ValueError for bytes that are no ONNX file.
    """
    properties, outputs = file.properties, file.outputs
    inputs = [value for value in file.inputs if value.name not in _NUMBERS]
    if not inputs or not properties.keys() >= _REQUIRED:
        raise FileError("truncated or changed after qbnnc made it", path, remedy="compile it again")
    description = Description(
        properties,
        _entries(inputs, properties.get(INPUTS)),
        tuple(value.name for value in inputs),
        tuple(value.name for value in outputs if value.name != RNG_CHECK),
        sum(math.prod(value.shape[2:]) for value in outputs if value.name.startswith("samples")),
        _values(file),
        next(iter(inputs[0].shape), 0) or None,
        any(value.name == RNG_CHECK for value in outputs),
        any(value.name == ROW_IDS for value in file.inputs),
        inputs[0].elements == INT64,
        {v.name: v.shape[1:] for v in outputs if not v.name.startswith("samples")},
    )
    try:
        _check_numbers(description)
        _check_interface(description, file)
    except ValueError as error:
        raise FileError(
            f"its metadata was changed ({error})", path, remedy="compile it again"
        ) from None
    return description


def _entries(inputs: Sequence[ValueInfo], listed: str | None) -> Entries:
    """The inputs, under the user's `listed` names, or those that the file has for them."""
    names = [] if listed is None else _names_in(listed)
    if len({*names}) != len(names) or len(names) != len(inputs):
        names = [value.name for value in inputs]  # the digest of the content tells of a change
    entries, start = list[Entry](), 0
    for name, value in zip(names, inputs, strict=True):
        entries.append(Entry(name, value.shape[1:], start))
        start = entries[-1].stop
    return tuple(entries)


def _names_in(text: str) -> list[str]:
    """The names in a list of JSON; none at all if it is none, or if one cannot be shown."""
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        return []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return []
    shown = all(0 < len(name) <= limits.NAME.most and name.isprintable() for name in names)
    return names if shown else []


def _check_numbers(description: Description) -> None:
    """ValueError if a row has a shape that no network takes, or another vocabulary.

    Also if L is no multiple of the members, or a number is none or out of range.
    """
    for entry in description.entries:
        limits.check_shape(entry.shape)
    limits.check_shape(description.input_shape)
    ids, samples, members = description.rows.ids, description.samples, description.members
    if description.takes_ids and ids is None:
        raise ValueError("ids without a vocabulary")
    if not 1 <= members <= samples <= limits.DRAWS.most * members or samples % members:
        raise ValueError(f"{samples} samples of {members} members")
    if not -(2**63) <= (description.default_seed or 0) < 2**64:
        raise ValueError("a default seed of more than 64 bits")


def _check_interface(description: Description, file: File) -> None:
    """ValueError unless inputs and outputs are those that `predict` gives and takes."""
    inputs = {value.name: _signature(value) for value in file.inputs}
    entries, given = description.entries, description.input_names
    elements = INT64 if description.takes_ids else FLOAT
    wanted = {
        name: (elements, len(entry.shape) + 1) for name, entry in zip(given, entries, strict=True)
    }
    wanted |= {SEED: (INT64, 0)}
    wanted |= {ROW_IDS: (INT64, 1)} if description.row_ids else {FIRST_ROW: (INT64, 0)}
    alone = (INPUT,) if INPUTS not in description.properties else given
    empty = any(0 in entry.shape for entry in entries)
    if inputs != wanted or given != alone or empty or len(inputs) != len(file.inputs):
        raise ValueError("other inputs")
    head, names = description.head, description.output_names
    samples = head.sample_names(_outputs(names))
    if names != (*samples, *head.statistic_names(len(samples))):
        raise ValueError("other outputs")
    rows = description.batch or 0
    if not 0 <= rows <= MOST_ROWS_AT_ONCE:
        raise ValueError(f"{rows} rows")
    for value in file.outputs:
        if value.name == RNG_CHECK:
            if (value.elements, value.shape) != (INT32, (4,)):
                raise ValueError(f"another type of {value.name}")
            continue
        leading = (description.samples, rows) if value.name in samples else (rows,)
        if value.elements != FLOAT or value.shape[: len(leading)] != leading:
            raise ValueError(f"another type or number of {value.name}")


def _outputs(names: Sequence[str]) -> int:
    """The number of the network's own outputs, each of which has samples."""
    return sum(name.startswith("samples") for name in names)


def _signature(value: ValueInfo) -> tuple[int, int]:
    """The type of the elements, and the number of axes."""
    return value.elements, len(value.shape)


def _values(file: File) -> dict[str, StoredValue]:
    found: dict[str, StoredValue] = {}
    for info in file.values:
        if VALUE in info.properties:
            stored = StoredValue(info.name, info.properties.get(AXES, ""))
            found |= dict.fromkeys(_names(info.properties), stored)
    return found


def _names(properties: Mapping[str, str]) -> list[str]:
    """The names of a value in the IR, one for each member that has it."""
    name, others = properties[VALUE], properties.get(ALSO, "")
    rest = name.partition("/")[2]
    return [name, *(f"{member_prefix(int(n), 2)}{rest}" for n in others.split(",") if n.isdigit())]
