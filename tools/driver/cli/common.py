"""Options and output that several commands share."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from qbnnc.ir.errors import ArtefactWarning, RoundingWarning, SourceWarning, UserError
from qbnnc.sources import CalibrationWarning

WIDTH = 80
INTERRUPTED = 130  # as shells have it: 128 and the number of SIGINT
_FOR_USERS = (ArtefactWarning, CalibrationWarning, RoundingWarning, SourceWarning)
F = TypeVar("F", bound=Callable[..., Any])


def input_option(function: F) -> F:
    """--input FILE[:KEY]."""
    return click.option(
        "--input",
        "input_",
        required=True,
        metavar="FILE[:KEY]",
        help="The inputs, [batch, ...]: a .npy file, or an array of an .npz file.",
    )(function)


def drawing_options(function: F) -> F:
    """--samples, --first-row, --batch-size: which numbers are drawn, and how much at once."""
    for option in (
        click.option(
            "--batch-size",
            type=click.IntRange(min=1),
            help="Rows at a time; changes speed and memory, never the result.",
        ),
        click.option(
            "--first-row",
            type=click.IntRange(min=0),
            default=0,
            show_default=True,
            help="The number of the first row, for a batch that is split.",
        ),
        click.option(
            "--samples",
            type=click.IntRange(min=1),
            metavar="L",
            help="Monte-Carlo samples; of an ensemble a multiple of its members. "
            "[default: as compiled; .onnx: no more than that]",
        ),
    ):
        function = option(function)
    return function


def json_option(function: F) -> F:
    """--json: the table as JSON."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, not a table.")(
        function
    )


def quiet_option(function: F) -> F:
    """-q: say nothing but errors and warnings."""
    return click.option("-q", "--quiet", is_flag=True, help="Print errors and warnings only.")(
        function
    )


def verbose_option(function: F) -> F:
    """-v: say more; show the traceback of an internal error."""
    return click.option("-v", "--verbose", is_flag=True, help="Say more.")(function)


def say(message: str) -> None:
    """A sentence on stderr; on a terminal, wrapped to its width between words."""
    if sys.stderr.isatty():
        width = shutil.get_terminal_size((80, 24)).columns
        message = textwrap.fill(message, width, break_long_words=False, break_on_hyphens=False)
    click.echo(message, err=True)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Warnings about data and networks as sentences; others are not for users."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            for warning in caught:
                if issubclass(warning.category, _FOR_USERS):
                    say(f"Warning: {warning.message}")


def echo_json(value: object) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(value, indent=2))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need, the first flush left, the others flush right."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    texts = (
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
    return "\n".join(texts)


def fold(text: str, indent: str = "  ") -> str:
    """`text` in lines of 80 columns, broken between words; a longer word, as a path, stays whole.

    >>> print(fold("one " * 25, indent="    ").count("\\n"))
    1
    """
    return textwrap.fill(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def spaced(bits: str) -> str:
    """ "w8a7,fc=w4a4" with places where `fold` may break it."""
    return bits.replace(",", ", ")


def shortened(name: str, room: int) -> str:
    """The end of a name that is longer than `room`: names of layers, and paths, begin alike."""
    return name if len(name) <= room else f"…{name[len(name) - room + 1 :]}"


@contextmanager
def placed(files: Mapping[str, str | None]) -> Iterator[None]:
    """Errors about "the input", "the calibration data", ... begin with the file that holds it.

    `files` are by those words; None where there is no file.
    """
    try:
        yield
    except UserError as error:
        text = str(error)
        for words, file in files.items():
            if file is not None and text.startswith(f"{words}: "):
                raise UserError(file + text.removeprefix(words)) from None
        raise


def several(files: Sequence[str]) -> str:
    """The name of a file, or of the first of several."""
    return files[0] if len(files) == 1 else f"{files[0]} ..."


def human_bytes(count: int) -> str:
    """ "12.3 kB": powers of 1000, three digits.

    >>> human_bytes(12345)
    '12.3 kB'
    """
    size, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.3g} {unit}"
