"""`qbnnc verify --source`: an artefact against the module that it was compiled from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import cast

import click

from qbnnc.cli.common import echo_json, placed, plain_warnings, read_as_compiled, several
from qbnnc.cli.progress import ProgressLine
from qbnnc.cli.shared_options import model_options, trust_option
from qbnnc.loading.arrays import read_arrays
from qbnnc.loading.sources import Reading, SourceOptions
from qbnnc.support.errors import UserError
from qbnnc.support.text import counted, fold, table
from qbnnc.verification.agreement import Agreement, Limits
from qbnnc.verification.source import SourceComparison, verify

_LIMITS = {
    "mean_shift": "Limit the root mean square difference of means, in standard deviations.",
    "deviation_ratio": "Limit the ratio of standard deviations, the larger over the smaller.",
    "rank_loss": "Limit 1 - Spearman's correlation of the rows' uncertainties.",
    "divergence": "Limit KL(module || artefact), in nats.",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of --source, as far as they were given."""

    files: tuple[str, ...]
    options: SourceOptions
    limits: Limits


@dataclass(frozen=True, slots=True)
class Drawn:
    """The rows, and which random numbers are drawn for them."""

    input_: str
    seeds: tuple[int, ...]
    samples: int | None
    threads: int | None


def source_options(function: Callable[..., int]) -> Callable[..., int]:
    """--source, how it is read, and the limits."""
    for name, text in reversed(_LIMITS.items()):
        option = f"--max-{name.replace('_', '-')}"
        function = click.option(option, name, type=click.FloatRange(min=0), metavar="X", help=text)(
            function
        )
    function = trust_option(model_options(function))
    return click.option(
        "--source",
        multiple=True,
        metavar="MODEL",
        help="Compare with the network that the artefact was compiled from; repeat for an "
        "ensemble's files.",
    )(function)


def asked_source(given: Mapping[str, object]) -> Asked | None:
    """None without --source; UserError if an option is given that needs it."""
    options = SourceOptions.of(**cast("Reading", given["reading"]))
    values = {name: cast("float | None", given[name]) for name in _LIMITS}
    files = cast("tuple[str, ...]", given["source"])
    if files:
        return Asked(files, options, Limits(**values))
    used = [name for name, value in values.items() if value is not None]
    for name in [*options.given(), *["trust_pickle"] * options.trust_pickle, *used]:
        raise UserError(
            "is for --source MODEL", place=f"`{name}`", remedy="give the network to compare with"
        )
    return None


def against_source(
    artefacts: Sequence[str], asked: Asked, drawn: Drawn, *, as_json: bool, quiet: bool
) -> int:
    """The exit code: 1 if a limit is exceeded."""
    if len(artefacts) != 1 or len(drawn.seeds) != 1:
        raise UserError(
            "compares one ARTEFACT, with one --seed", place="--source", remedy="give one of each"
        )
    (artefact,), x = artefacts, read_arrays(drawn.input_)
    file = several(asked.files)
    files = {"the input": drawn.input_, "the source": file}
    sources = [word for name in asked.files for word in ("--source", name)]
    again = ("verify", artefact, "--input", drawn.input_, *sources)
    with (
        placed(files),
        read_as_compiled(again),
        plain_warnings(),
        ProgressLine(quiet or as_json) as line,
    ):
        found = verify(
            artefact,
            x,
            asked.files,
            samples=drawn.samples,
            seed=drawn.seeds[0],
            limits=asked.limits,
            source_options=asked.options,
            threads=drawn.threads,
            progress=line.counter("sampling"),
        )
    if as_json:
        echo_json(asdict(found) | {"accepted": found.accepted})
    elif not quiet or not found.accepted:
        _report(found, file)
    return 0 if found.accepted else 1


def _report(found: SourceComparison, file: str) -> None:
    drawn = f"{counted(found.rows, 'row')} x {counted(found.samples, 'sample')}"
    click.echo(fold(f"{found.artefact} against the {found.called} in {file}: {drawn}"))
    header = ("output", "mean shift", "std ratio", "rank corr.", "KL")
    click.echo(table(header, [_line(one) for one in found.agreements]))
    if found.noise is not None:
        click.echo(
            fold(f"Sampling alone gives a mean shift of about {found.noise:.2g} deviations.")
        )
    for text in found.exceeded:
        click.echo(fold(text))


def _line(one: Agreement) -> tuple[str, ...]:
    values = (one.mean_shift, one.deviation_ratio, one.rank_correlation, one.divergence)
    return (one.output, *("undefined" if v is None else f"{v:.4g}" for v in values))
