"""The study of a trained network's quantisation, from files or arrays to a file of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace

from numpy.typing import ArrayLike

from qbnnc.evaluation.data import Labelled, Path_, RawData, has_labels, read_labelled, read_training
from qbnnc.evaluation.score import TargetUnits
from qbnnc.loading.sources import warn_of_few
from qbnnc.passes.options import Bits, CompileOptions
from qbnnc.runtime.threads import physical_cores
from qbnnc.study.sweep.executors import Cluster, Given, Pool, Processes
from qbnnc.study.sweep.plan import Plan, ordered, paper_grid, parse_bits
from qbnnc.study.sweep.prepare import check_options, read_models, shifted_bits, study_of, task_of
from qbnnc.study.sweep.rows import Precision, Result
from qbnnc.study.sweep.schedule import Progress, run_study
from qbnnc.study.sweep.settings import Settings, Tuning
from qbnnc.study.sweep.store import check_output
from qbnnc.support.errors import InputError, UserError
from qbnnc.support.inputs import as_integer, whole

PAPER_WEIGHTS, PAPER_ACTIVATIONS = range(3, 9), range(3, 8)


def run_sweep(
    networks: Mapping[str, object],
    output: Path_,
    *,
    train: Labelled | ArrayLike,
    test: Labelled,
    ood: Path_ | ArrayLike | None = None,
    bits: str | Sequence[Bits] | None = None,
    ptq: bool = True,
    qat: bool = False,
    floats: bool = True,
    seeds: int | Sequence[int] = 3,
    samples: int | None = None,
    task: str | None = None,
    compile_options: CompileOptions | None = None,
    tuning: Tuning | None = None,
    shifts: bool = False,
    target_mean: float = 0.0,
    target_std: float = 1.0,
    workers: int | None = None,
    scheduler: str | None = None,
    executor: Executor | None = None,
    retry_failed: bool = False,
    command: str = "",
    progress: Progress | None = None,
) -> tuple[Result, ...]:
    """Evaluate networks in float and at many bits, and keep a line of JSON for each result.

    Args:
        networks: by the names that tables and figures give them: each a Network, or a source that
            qbnnc.compile reads without options.
        output: the file; results it already has are kept, so an interrupted study goes on.
        train: training data, of which 512 rows calibrate: "FILE.npz[:XKEY,YKEY]" or (x, y); inputs
            alone, "FILE[:KEY]" or x, unless the loss of fine-tuning needs labels.
        test: what metrics are computed on, likewise; y are labels, or targets.
        ood: inputs of another distribution, confusion data, "FILE[:KEY]" or x.
        bits: "w8a7,w4a4"; the paper's grid if None: weights 3..8 at 7-bit activations, activations
            3..7 at 8-bit weights.
        ptq, qat: quantised after training, and fine-tuned with simulated quantisation.
        floats: the float network itself, which every figure compares with.
        seeds: how many, from 0, or which: of the random numbers, and of each fine-tuning.
        samples, task: as in qbnnc.compile.
        compile_options: what decides the integers, but for the bits.
        tuning: how fine-tuning goes.
        shifts: evaluate images rotated, brightened and moved, in float and at the most bits.
        target_mean, target_std: of standardised targets; metrics are in their units.
        workers: processes of this machine, one a physical core by default; they are started
            afresh, so a script keeps its calls below `if __name__ == "__main__":`.
        scheduler: the address of a Dask scheduler, whose workers are used instead.
        executor: any other executor that can send arrays to its workers.
        retry_failed: compute again what has an error.

    Returns all results in the file. Raises UserError before anything is written if networks, data
    and options do not fit; what goes wrong with one configuration is told in its rows.
    """
    how = Tuning() if tuning is None else tuning
    labels = qat and how.training(seed=0).loss.needs_labels
    TargetUnits(target_mean, target_std).check()
    training, testing = _read(train, test, labels)
    chosen, its_seeds = _bits(bits), _seeds(seeds)
    pool = _pool(workers, scheduler, executor)
    models = read_models(networks, training)
    first = next(iter(models.values()))
    settings = Settings(
        task_of(task, models),
        None if samples is None else whole("samples", samples, 1),
        {} if compile_options is None else compile_options,
        how,
        target_mean,
        target_std,
        shifted_bits(first, chosen) if shifts else None,
    )
    check_options(models, settings, chosen[0], qat=qat)
    study = study_of(models, training, testing, ood, settings)
    wanted = {Precision.FLOAT: floats, Precision.PTQ: ptq, Precision.QAT: qat}
    precisions = tuple(precision for precision, is_wanted in wanted.items() if is_wanted)
    random = {name: model.stochastic for name, model in models.items()}
    plan = Plan(tuple(models), random, chosen, precisions, its_seeds)
    header = study.header(", ".join(models), command)
    check_output(output, header)
    pool.check()
    warn_of_few(len(study.calibration))
    if not qat:
        study = replace(study, train=None, train_labels=None)  # nothing of it needs to be sent
    return run_study(
        study, plan, output, header, pool, retry_failed=retry_failed, progress=progress
    )


def _read(train: Labelled | ArrayLike, test: Labelled, labels: bool) -> tuple[RawData, RawData]:
    training = read_training(train, labels=labels)
    if labels and not has_labels(training):
        raise UserError("--loss: this one needs labels: --train FILE.npz:X,Y, or --loss match")
    return training, read_labelled(test, "the test data")


def _bits(bits: str | Sequence[Bits] | None) -> tuple[Bits, ...]:
    if bits is None:
        return paper_grid(PAPER_WEIGHTS, PAPER_ACTIVATIONS)
    return parse_bits(bits) if isinstance(bits, str) else ordered(bits)


def _seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    if isinstance(seeds, Sequence):
        chosen = tuple(dict.fromkeys(as_integer(seed, "`seeds`") for seed in seeds))
        if not chosen:
            raise InputError("--seeds: give one or more")
        return chosen
    return tuple(range(whole("seeds", seeds, 1)))


def _pool(workers: int | None, scheduler: str | None, executor: Executor | None) -> Pool:
    if workers is not None and (scheduler or executor) is not None:
        raise UserError("--workers: with --scheduler the cluster's own workers are used")
    if executor is not None:
        return Given(executor)
    if scheduler is not None:
        return Cluster(scheduler)
    return Processes(physical_cores() if workers is None else whole("workers", workers, 1))
