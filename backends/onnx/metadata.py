"""The metadata properties of an ONNX file: its description of itself."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from qbnnc.backends.onnx.embedded_model import embedded
from qbnnc.backends.onnx.names import MODEL, PRODUCER
from qbnnc.ir.format import digest
from qbnnc.ir.model import Model

RNG = (
    "splitmix64 counter: word = mix(mix(mix(seed + G*(stream+1)) + G*(sample+1)) + G*(w+1)), "
    "G = 0x9E3779B97F4A7C15, four 16-bit lanes a word, lowest bits first"
)
PROMISE = (
    "Given seed and first_row, onnxruntime on CPU at its default session options returns the "
    "samples of the reference evaluation of the .qbnn file with the same digest, bit for bit."
)


def compiler_version() -> str:
    """The installed qbnnc's version; "unknown" where it runs without being installed."""
    try:
        return version(PRODUCER)
    except PackageNotFoundError:
        return "unknown"


def properties(model: Model, samples: int, *, with_model: bool) -> dict[str, str]:
    """The file's metadata_props but for the digest of its content; all text."""
    provenance = model.provenance
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
        "promise": PROMISE,
        **({MODEL: embedded(model)} if with_model else {}),
    }


def description(model: Model, samples: int) -> str:
    """The file's doc_string: its inputs and outputs."""
    names = ", ".join(model.head.sample_names(len(model.graph.outputs)))
    return (
        f"An integer Bayesian neural network ({model.method}), made by qbnnc. "
        "input: float32 [batch, ...]. seed: which random numbers, any int64. first_row: the "
        "number of the batch's first row, normally 0, so that a batch may be split. "
        f"{names}: [{samples}, batch, ...], one for each Monte-Carlo sample; the other outputs "
        "are computed from them in float64. " + PROMISE
    )
