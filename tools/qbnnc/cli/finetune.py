"""qbnnc finetune: train with simulated quantisation, when calibration is not enough."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qbnnc.cli.command import Command
from qbnnc.cli.common import INTERRUPTED, placed, say, several
from qbnnc.cli.data_options import compiled_samples_option, training_options
from qbnnc.cli.progress import ProgressLine
from qbnnc.cli.quantisation_options import bits_option, chosen_options, quantisation_options
from qbnnc.cli.shared_options import (
    model_options,
    quiet_option,
    trust_option,
    verbose_option,
)
from qbnnc.ir import format
from qbnnc.ir.head import Task
from qbnnc.loading.arrays import files_among, read_arrays
from qbnnc.loading.sources import Reading, SourceOptions
from qbnnc.loading.writing import check_outputs
from qbnnc.options import options_from
from qbnnc.support.errors import FileError, UserError
from qbnnc.support.extras import require
from qbnnc.support.inputs import choice
from qbnnc.support.text import fold, human_bytes, spaced

if TYPE_CHECKING:
    from qbnnc.backends.torch.training import FineTuning, Progress


@click.command(name="finetune", cls=Command, short_help="Train with simulated quantisation.")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE.qbnn",
    help="Write the best model so far to this file, at any time.",
)
@click.option(
    "--data",
    required=True,
    metavar="FILE.npz[:X,Y]",
    help="Train on inputs [N, ...] and, if the loss needs them, labels 0..K-1 or "
    "targets.  [default keys: x,y]",
)
@click.option(
    "--validation",
    metavar="FILE.npz[:X,Y]",
    help="Choose the best model on these data.  [default: rows held out]",
)
@training_options
@click.option(
    "--calib",
    "calibration",
    metavar="FILE[:KEY]",
    help="Begin with the ranges of these inputs.  [default: --data]",
)
@click.option("--resume", is_flag=True, help="Go on where an interrupted run stopped.")
@click.option(
    "--device",
    default="cpu",
    show_default=True,
    metavar="DEVICE",
    help="Train on this device: cpu, cuda, cuda:1, or another that torch knows. auto is "
    "cuda where there is one.",
)
@compiled_samples_option
@click.option(
    "--task",
    type=click.Choice([t.value for t in Task]),
    help="The task decides the statistics.  [default: the loss implies it]",
)
@model_options
@bits_option
@quantisation_options
@trust_option
@quiet_option
@verbose_option
def command(
    models: tuple[str, ...],
    output: str,
    data: str,
    validation: str | None,
    loss: str,
    steps: int | None,
    epochs: float | None,
    lr: float | None,
    batch_size: int,
    seed: int,
    ranges: str,
    train_sigma: bool,
    held_out: float,
    calibration: str | None,
    resume: bool,
    device: str,
    samples: int | None,
    task: str | None,
    reading: Reading,
    quiet: bool,
    verbose: bool,
    **compile_options: object,
) -> int:
    """Fine-tune MODEL with simulated quantisation; qbnnc compile makes integers of the result.

    MODEL is what qbnnc compile takes. Each ensemble member is tuned on its own. The best model by
    validation is in the output at any time, beginning with the one that calibration alone gives.
    After Ctrl-C, --resume goes on.
    """
    path = _check_output(output, [*models, *files_among(calibration, data)])
    state = _state_of(path, resume)
    require("torch", what="qbnnc finetune")
    from qbnnc.backends.torch.training import Loss, Training
    from qbnnc.qat import prepare_finetuning

    training = Training(
        choice("--loss", Loss, loss),
        epochs,
        lr,
        batch_size,
        seed,
        learn_ranges=ranges == "learned",
        train_sigma=train_sigma,
        held_out=held_out,
        steps=steps,
    )
    file = several(models)
    files = {"the calibration data": calibration or data, "the training data": data}
    with placed({**files, "the source": file, "the model": file}):
        job = prepare_finetuning(
            list(models),
            data,
            options_from(chosen_options(compile_options), samples, task),
            training,
            validation=validation,
            calibration=None if calibration is None else read_arrays(calibration),
            reading=SourceOptions.of(**reading),
            device=device,
        )
    if resume:
        job.resume(state)
    if not quiet:
        _announce(job)
    return _run(job, path, state, quiet)


def _announce(job: FineTuning) -> None:
    """Tell what is minimised, and how a classifier would be asked for."""
    from qbnnc.backends.torch.training.losses import could_classify

    click.echo(f"loss {job.training.loss.value}: {job.title}")
    if could_classify(job.best):
        click.echo("  if they are logits give --task classification: KL of probabilities then")


def _run(job: FineTuning, path: Path, state: Path, quiet: bool) -> int:
    from qbnnc.backends.torch.training import Diverged

    reports: list[Progress] = []
    try:
        with ProgressLine(quiet) as line:

            def tell(progress: Progress) -> None:
                reports.append(progress)
                if progress.improved or not path.exists():
                    format.save(job.best, path)
                _tell(progress, line, quiet)

            job.run(tell, state)
    except Diverged as error:
        format.save(job.best, path)
        kept = f"{error.remedy}. {path} is the best until then"
        raise UserError(error.message, error.place, kept) from None
    except KeyboardInterrupt:
        goes_on = ", and --resume goes on" * state.exists()
        kept = f"{path} is the best so far{goes_on}" if path.exists() else "nothing was written"
        say(f"interrupted; {kept}")
        return INTERRUPTED
    format.save(job.best, path)
    if not quiet:
        _report(job, path, reports)
    return 0


def _tell(progress: Progress, line: ProgressLine, quiet: bool) -> None:
    """Draw the line of a terminal; elsewhere print a line for each validation."""
    who = f"member {progress.member + 1}/{progress.members}" if progress.members > 1 else ""
    losses = f"validation {progress.validation:.4g}, best {progress.best:.4g}"
    line.show(who or "fine-tuning", progress.step, progress.steps, losses)
    if not line.shown and not quiet:
        parts = (who, f"step {progress.step}/{progress.steps}", losses)
        click.echo(", ".join(filter(None, parts)), err=True)


def _report(job: FineTuning, path: Path, reports: list[Progress]) -> None:
    """Tell the validation loss before and after, a mean over the members, and the next step."""
    from qbnnc.backends.torch.training.losses import could_classify

    members = {r.member for r in reports}
    first = [next(r.best for r in reports if r.member == m) for m in members]
    best = [min(r.best for r in reports if r.member == m) for m in members]
    if members:
        before, after = sum(first) / len(first), sum(best) / len(best)
        click.echo(f"validation loss: {before:.4g} before, {after:.4g} after")
    if members and best == first:
        advice = "give more --steps, or more data"
        if job.training.lr is not None:
            advice = "leave --lr out, so that several are tried"
        click.echo(fold(f"training did not lower it, so the network is as before: {advice}"))
    bits = spaced(job.best.provenance.bits)
    click.echo(fold(f"wrote {path}: {human_bytes(path.stat().st_size)}, {bits}"))
    click.echo(fold(f"next: qbnnc compile {path} -o model.onnx -o model.qbnn"))
    if could_classify(job.best):
        click.echo("  for a classifier with --task classification: it is of task raw as it is")


def _check_output(output: str, inputs: list[str | Path]) -> Path:
    (path,) = check_outputs([output], inputs)
    if path.suffix != ".qbnn":
        raise FileError(
            "a fine-tuned network is a .qbnn", path, remedy="qbnnc compile makes .onnx of it"
        )
    return path


def _state_of(path: Path, resume: bool) -> Path:
    """The file from which an interrupted run goes on: there if it is to, and else not."""
    state = path.with_name(path.name + ".state")
    if resume and not state.exists():
        raise FileError("there is nothing to resume", state, remedy="begin without --resume")
    if state.exists() and not resume:
        raise FileError(
            "a run was interrupted", state, remedy="go on with --resume, or delete this file"
        )
    return state
