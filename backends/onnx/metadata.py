"""The metadata properties of an ONNX file: its description of itself."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version

from qbnnc.backends.onnx.embedded_model import embedded
from qbnnc.backends.onnx.names import (
    DEFAULT_SEED,
    FIRST_ROW,
    IDS,
    INPUTS,
    MODEL,
    PRODUCER,
    ROW_IDS,
    input_names,
)
from qbnnc.ir.format import digest
from qbnnc.ir.ids import holds_only_ids, vocabularies
from qbnnc.ir.model import Model
from qbnnc.support.id_rows import vocabulary_text

RNG = (
    "splitmix64 counter: word = mix(mix(mix(seed + G*(stream+1)) + G*(sample+1)) + G*(w+1)), "
    "G = 0x9E3779B97F4A7C15, four 16-bit lanes a word, lowest bits first"
)
_PROMISE = (
    "Given seed and {rows}, onnxruntime on CPU at its default session options returns the "
    "samples of the reference evaluation of the .qbnn file with the same digest, bit for bit."
)


_FIRST_ROW = (
    "first_row: the number of the batch's first row, normally 0, so that a batch may be split."
)
_ROW_IDS = (
    "row_ids: int64 [batch], which random numbers each row has, 0 or more, so that rows may be "
    "batched in any way. Rows with equal ids share them."
)


def promise(row_ids: bool) -> str:
    """The promise of a file, which names the inputs that decide its bits."""
    return _PROMISE.format(rows=ROW_IDS if row_ids else FIRST_ROW)


def compiler_version() -> str:
    """The installed qbnnc's version; "unknown" where it runs without being installed."""
    try:
        return version(PRODUCER)
    except PackageNotFoundError:
        return "unknown"


def properties(
    model: Model,
    samples: int,
    *,
    with_model: bool,
    row_ids: bool = False,
    default_seed: int | None = None,
) -> dict[str, str]:
    """The file's metadata_props but for the digest of its content; all text."""
    provenance, known = model.provenance, vocabularies(model.graph)
    return {
        "version": compiler_version(),
        "digest": digest(model),
        "method": model.method,
        "task": model.head.task.value,
        "outputs": ",".join(model.head.outputs),
        "samples": str(samples),
        "members": str(len(model.members)),
        "bits": provenance.bits,
        "weights": provenance.weights,
        "calibration": provenance.calibration,
        "training": provenance.training,
        "distribution": provenance.distribution,
        "compiler": provenance.compiler,
        "rng": RNG,
        "promise": promise(row_ids),
        **({INPUTS: json.dumps([e.name for e in model.inputs])} if len(model.inputs) > 1 else {}),
        **({} if known is None else {IDS: vocabulary_text(known)}),
        **({} if default_seed is None else {DEFAULT_SEED: str(default_seed % 2**64)}),
        **({MODEL: embedded(model)} if with_model else {}),
    }


def description(model: Model, samples: int, row_ids: bool) -> str:
    """The file's doc_string: its inputs and outputs."""
    numbering = _ROW_IDS if row_ids else _FIRST_ROW
    taken = ", ".join(input_names(model))
    names = ", ".join(model.head.sample_names(len(model.graph.outputs)))
    elements = "int64 ids" if holds_only_ids(model.graph) else "float32"
    return (
        f"An integer Bayesian neural network ({model.method}), made by qbnnc. "
        f"{taken}: {elements} [batch, ...]. seed: which random numbers, any int64. {numbering} "
        f"{names}: [{samples}, batch, ...], one for each Monte-Carlo sample; the other outputs "
        "are computed from them in float64. " + promise(row_ids)
    )
