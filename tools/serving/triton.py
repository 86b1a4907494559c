"""Write a Triton model repository for an .onnx file that takes row ids.

python -m tools.serving.triton model.onnx model_repository --name lenet
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from qbnnc.backends.onnx.artefact import Description, read_file
from qbnnc.backends.onnx.names import ROW_IDS
from qbnnc.support.errors import FileError, UserError
from qbnnc.support.files import read_bytes, write_all
from qbnnc.support.inputs import as_count

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_MOST = 1 << 16


def config(description: Description, name: str, *, rows: int, delay: int) -> str:
    """The config.pbtxt of a file: batches of up to `rows`, for which a request waits `delay` us.

    Triton batches along the first axis of every input and output. Only statistics have the batch
    there, samples [L, batch, ...] do not, so that they are no outputs. The seed is the file's own.
    UserError for a file that cannot be batched.
    """
    if not _NAME.fullmatch(name):
        raise UserError("no name", f"`name` {name!r}", "take letters, digits, - and _")
    if not description.row_ids:
        raise UserError(
            "has no input `row_ids`", place="the .onnx file", remedy="compile it with --row-ids"
        )
    if description.default_seed is None or description.batch is not None:
        remedy = "compile it with --row-ids --default-seed 0, and without --batch"
        raise UserError("needs a default seed and any number of rows", remedy=remedy)
    statistics = [n for n in description.output_names if n not in description.sample_names]
    shapes = description.statistic_shapes
    kind = "TYPE_INT64" if description.takes_ids else "TYPE_FP32"
    named = zip(description.input_names, description.entries, strict=True)
    inputs = [*(_tensor(given, kind, entry.shape) for given, entry in named), _ids()]
    outputs = [_tensor(n, "TYPE_FP32", shapes[n]) for n in statistics]
    return (
        f'name: "{name}"\n'
        'backend: "onnxruntime"\n'
        f"max_batch_size: {as_count(rows, 'rows', _MOST)}\n"
        f"input [\n{','.join(inputs)}\n]\n"
        f"output [\n{','.join(outputs)}\n]\n"
        f"dynamic_batching {{\n  max_queue_delay_microseconds: {as_count(delay, 'delay', 10**6)}\n"
        "}\n"
        "instance_group [\n  {\n    count: 1\n    kind: KIND_CPU\n  }\n]\n"
    )


def write(file: Path, repository: Path, name: str, *, rows: int = 64, delay: int = 500) -> None:
    """Write `repository`/name/config.pbtxt and 1/model.onnx; FileError or UserError if not."""
    data = read_bytes(file)
    _, description = read_file(data, file)
    text = config(description, name, rows=rows, delay=delay)
    try:
        (repository / name / "1").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot be made ({error.strerror})", repository) from None
    folder = repository / name
    write_all([(folder / "config.pbtxt", text.encode()), (folder / "1" / "model.onnx", data)])


def _ids() -> str:
    """One id for each row. Triton's batch is its only axis; it has no others to list but [ 1 ].

    The reshape takes that axis away again.
    """
    return (
        f'\n  {{\n    name: "{ROW_IDS}"\n    data_type: TYPE_INT64\n    dims: [ 1 ]\n'
        "    reshape: { shape: [ ] }\n  }"
    )


def _tensor(name: str, kind: str, shape: Sequence[int]) -> str:
    """A tensor of rows; a row that is one number is given as [ 1 ]."""
    dims = ", ".join(map(str, shape)) or "1"
    reshape = "" if shape else "    reshape: { shape: [ ] }\n"
    return f'\n  {{\n    name: "{name}"\n    data_type: {kind}\n    dims: [ {dims} ]\n{reshape}  }}'


def main() -> None:
    """Read the command line and write the repository."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("repository", type=Path)
    parser.add_argument("--name", default="model")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--delay", type=int, default=500, help="microseconds")
    asked = parser.parse_args()
    try:
        write(asked.file, asked.repository, asked.name, rows=asked.rows, delay=asked.delay)
    except UserError as error:
        raise SystemExit(f"Error: {error}") from None


if __name__ == "__main__":
    main()
