"""qbnnc evaluate: error, likelihood, calibration and uncertainty on labelled data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import click
import numpy as np

from qbnnc.cli.command import Command
from qbnnc.cli.common import echo_json, placed, plain_warnings, read_as_compiled, say
from qbnnc.cli.data_options import (
    labelled_data_option,
    metric_options,
    ood_option,
    samples_option,
    seeds_option,
)
from qbnnc.cli.limits import Limit, exceeded, limit_options, parse_limits
from qbnnc.cli.progress import ProgressLine
from qbnnc.cli.shared_options import (
    json_option,
    model_options,
    quiet_option,
    trust_option,
    verbose_option,
)
from qbnnc.evaluation.files import Evaluation, evaluate_files
from qbnnc.evaluation.plots import check_plot, write_plot
from qbnnc.evaluation.score import Measure
from qbnnc.loading.arrays import split_spec
from qbnnc.loading.clipping import MUCH_CLIPPED
from qbnnc.loading.sources import Reading
from qbnnc.support.errors import UserError
from qbnnc.support.files import check_apart
from qbnnc.support.text import WIDTH, counted, fold, shortened, spaced, table

_LONGEST_TITLE = 15
_PERCENT = ("error", "ece", "coverage")
_TITLES = {
    "error": "error, %",
    "nll": "NLL, nats",
    "ece": "ECE (10 bins), %",
    "entropy": "aPE, nats",
    "mutual_information": "mutual inf., nats",
    "brier": "Brier score, 0..2",
    "ood_entropy": "OOD aPE, nats",
    "ood_mutual_information": "OOD mutual inf., nats",
    "rmse": "RMSE, units of y",
    "epistemic_std": "epistemic std, y",
    "aleatoric_std": "aleatoric std, y",
    "ood_epistemic_std": "OOD epistemic std, y",
    "ood_aleatoric_std": "OOD aleatoric std, y",
    "aurc": "AURC",
    "coverage": "90 % intervals, %",
    "ood_auroc": "OOD AUROC",
    "kl": "KL from float, nats",
    "rank": "rank correlation",
    "spread": "spread / float's",
}


@click.command(
    name="evaluate", cls=Command, short_help="Measure error and uncertainty on labelled data."
)
@click.argument("models", nargs=-1, metavar="ARTEFACT...")
@labelled_data_option
@ood_option
@click.option(
    "--compare", metavar="MODEL", help="Show a float model first; MODEL is what compile reads."
)
@click.option(
    "--plot",
    metavar="FILE",
    help="Draw calibration and uncertainty too: .svg, .png or .pdf.",
)
@seeds_option
@samples_option
@metric_options
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    metavar="N",
    default=256,
    show_default=True,
    help="Predict so many rows at a time.",
)
@limit_options
@model_options
@trust_option
@json_option
@quiet_option
@verbose_option
def command(
    models: tuple[str, ...],
    data: str,
    ood: str | None,
    compare: str | None,
    plot: str | None,
    seeds: tuple[int, ...],
    samples: int | None,
    task: str | None,
    target_mean: float,
    target_std: float,
    batch_size: int,
    greatest: tuple[str, ...],
    least: tuple[str, ...],
    reading: Reading,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Evaluate ARTEFACTs, and a float model, on labelled data.

    Metrics are over the whole set. A classification has the error, negative log-likelihood (NLL)
    and expected calibration error (ECE). It also has the average predictive entropy (aPE), mutual
    information and Brier score. A regression has RMSE, NLL, and medians of the standard deviations.
    It also has the share of targets inside intervals of 90 %. Both have the area under the
    risk-coverage curve (AURC). With --ood, AUROC says how well uncertainty tells the two apart.

    With --plot, a picture of the first seed: calibration, confidence and entropies, or coverage,
    intervals and the probability integral transform.

    With --max and --min the exit code is 1 if an ARTEFACT does not keep a limit.
    """
    limits = parse_limits(greatest, least)
    sources = [*([] if compare is None else [compare]), *models]
    if not sources:
        raise UserError("no model", remedy="name artefacts, or a float model with --compare")
    if limits and not models:
        raise UserError("limits are for artefacts", remedy="name one")
    if plot is not None:
        check_apart([plot], [*sources, *(split_spec(d)[0] for d in (data, ood) if d is not None)])
        check_plot(plot, len(sources))
    places = {f"the metric {limit.metric}": str(limit) for limit in limits}
    again = ("evaluate", *models, "--data", data, "--compare", compare or "")
    with (
        placed(places),
        read_as_compiled(again),
        plain_warnings(),
        ProgressLine(quiet or as_json) as line,
    ):
        evaluations = evaluate_files(
            sources,
            data,
            ood=ood,
            task=task,
            seeds=seeds,
            samples=samples,
            target_mean=target_mean,
            target_std=target_std,
            **reading,
            batch_size=batch_size,
            metrics=[limit.metric for limit in limits],
            progress=lambda name, *done: line.show(f"evaluating {shortened(name, 30)}", *done),
        )
    if plot is not None:
        names = [evaluation.name for evaluation in evaluations]
        write_plot(plot, evaluations, [Path(n).name for n in names], Path(data).name)
    if as_json:
        echo_json([_record(evaluation) for evaluation in evaluations])
    elif not quiet:
        click.echo("\n".join(_lines(evaluations, data, ood)))
    return _held_to(limits, evaluations if compare is None else evaluations[1:])


def _held_to(limits: Sequence[Limit], artefacts: Sequence[Evaluation]) -> int:
    """The exit code; what is not kept is told."""
    told = [
        f"{artefact.name}: {sentence}"
        for artefact in artefacts
        for sentence in exceeded(limits, _in_units(artefact))
    ]
    for sentence in told:
        say(sentence)
    return 1 if told else 0


def _in_units(evaluation: Evaluation) -> dict[str, float]:
    """The means of the metrics, in the units of the table."""
    return {
        key: measure.mean * (100 if key in _PERCENT else 1)
        for key, measure in evaluation.scores.measures.items()
    }


def _lines(evaluations: Sequence[Evaluation], data: str, ood: str | None) -> Iterator[str]:
    titles = _unique_titles([evaluation.name for evaluation in evaluations])
    first = evaluations[0].scores
    rows = counted(first.rows, "row")
    yield fold(f"{first.task.value} of {data}: {rows}" + (f"; OOD: {ood}" if ood else ""))
    for title, evaluation in zip(titles, evaluations, strict=True):
        scores, path = evaluation.scores, evaluation.name
        named = "" if title == path else f"{path}: "
        seeds = ", ".join(map(str, scores.seeds))
        drawn = f"L = {scores.samples}, seed {seeds}" if scores.random else f"L = {scores.samples}"
        bits = spaced(evaluation.bits)
        yield fold(f"  {title}: {named}{evaluation.method}, {bits}, {drawn}", "    ")
    yield from _tables(titles, evaluations)
    if notes := list(_notes(evaluations)):
        yield from ("", *notes)


def _unique_titles(names: Sequence[str]) -> list[str]:
    """The files' names if they are short and differ, else letters."""
    titles = [Path(name).name for name in names]
    if len(set(titles)) == len(titles) and max(map(len, titles)) <= _LONGEST_TITLE:
        return titles
    return [chr(ord("A") + i) if i < 26 else str(i) for i in range(len(names))]


def _tables(titles: Sequence[str], evaluations: Sequence[Evaluation]) -> Iterator[str]:
    """Tables of as many models as fit in 80 columns side by side."""
    keys = list(dict.fromkeys(key for e in evaluations for key in e.scores.measures))
    columns = [
        [title, *(_cell(key, e.scores.measures.get(key)) for key in keys)]
        for title, e in zip(titles, evaluations, strict=True)
    ]
    labels = ["", *(_TITLES[key] for key in keys)]
    room = WIDTH - max(map(len, labels))
    count = max(1, room // (2 + max(len(cell) for column in columns for cell in column)))
    for start in range(0, len(columns), count):
        rows = list(zip(labels, *columns[start : start + count], strict=True))
        yield ""
        yield table(rows[0], rows[1:])


def _cell(key: str, measure: Measure | None) -> str:
    if measure is None:
        return "-"
    factor, places = (100, 2) if key in _PERCENT else (1, 4)
    spread = "" if measure.std is None else f" ± {factor * measure.std:.{places}f}"
    mean = factor * measure.mean
    size = f"{mean:.{places}f}" if abs(mean) < 1e4 else f"{mean:.4g}"
    return size + spread


def _notes(evaluations: Sequence[Evaluation]) -> Iterator[str]:
    measures = [e.scores.measures for e in evaluations]
    likelihoods = [each["nll"].mean for each in measures]
    for applies, note in (
        (
            any(m.std is not None for each in measures for m in each.values()),
            "±: the standard deviation, over the seeds, of one evaluation",
        ),
        (
            "epistemic_std" in measures[0],
            "std: the median over the rows, which one outlier does not decide",
        ),
        (
            np.inf in likelihoods,
            "NLL inf: a row's truth has probability or density 0 (variance 0 or infinite)",
        ),
        (
            any("kl" in each for each in measures),
            "KL, rank correlation and spread compare each row with the float model's, and for the "
            "float model itself one seed with another. Rank and spread are of the epistemic "
            "standard deviation, or of the mutual information",
        ),
        (-np.inf in likelihoods, "NLL -inf: a row is predicted exactly, with variance 0"),
    ):
        if applies:
            yield fold(note, "  ")
    for evaluation in evaluations:
        if evaluation.clipped > MUCH_CLIPPED:
            yield fold(
                f"{evaluation.name}: {evaluation.clipped:.0%} of the input values lie outside the "
                "range of its calibration; are they scaled as in training, and is it compiled with "
                "such data?"
            )


def _record(evaluation: Evaluation) -> dict[str, object]:
    """The record for JSON, with fractions where the table has %."""
    scores = evaluation.scores
    return {
        "model": evaluation.name,
        "method": evaluation.method,
        "bits": evaluation.bits,
        "task": scores.task.value,
        "rows": scores.rows,
        "samples": scores.samples,
        "seeds": list(scores.seeds),
        "clipped": evaluation.clipped,
        "measures": {
            key: {"mean": measure.mean, "std": measure.std}
            for key, measure in scores.measures.items()
        },
        "calibration": [asdict(one) for one in scores.calibration],
    }
