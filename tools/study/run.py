"""Running a study: a sweep of networks over bits, whose results go into a file as they come."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, as_completed
from contextlib import closing
from dataclasses import replace
from typing import Protocol

from numpy.typing import ArrayLike

from qbnnc.evaluation.data import RawData, has_labels
from qbnnc.evaluation.reading import Labelled, Path_, read_labelled, read_training
from qbnnc.evaluation.score import TargetUnits
from qbnnc.loading.sources import warn_of_few
from qbnnc.passes.options import Bits, CompileOptions
from qbnnc.runtime.threads import physical_cores
from qbnnc.study.jobs import describe, failures
from qbnnc.study.plan import Job, Plan, jobs, ordered, paper_grid, parse_bits
from qbnnc.study.prepare import check_options, read_models, shifted_bits, study_of, task_of
from qbnnc.study.results import Header, Precision, Result
from qbnnc.study.settings import Settings, Study, Tuning
from qbnnc.study.store import check_output, open_store
from qbnnc.study.workers import Cluster, Given, Processes, Workers
from qbnnc.support.errors import InputError, UserError
from qbnnc.support.inputs import as_integer, whole

PAPER_WEIGHTS, PAPER_ACTIVATIONS = range(3, 9), range(3, 8)
_DIED = "the worker process died: out of memory? Try fewer `workers`, or another machine"


class Progress(Protocol):
    """A callable that learns how far a study is."""

    def __call__(self, done: int, total: int, latest: tuple[Result, ...]) -> None:
        """`done` of `total` results are in the file; `latest` came with the last job."""


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
        networks: networks by the names in tables and figures: each a Network, or a source that
            qbnnc.compile reads without options.
        output: the file; results it already has are kept, so an interrupted study goes on.
        train: training data, of which 512 rows calibrate: "FILE.npz[:XKEY,YKEY]" or (x, y). Inputs
            alone, "FILE[:KEY]" or x, will do unless the loss of fine-tuning needs labels.
        test: data for the metrics, in the same forms; y are labels, or targets.
        ood: out-of-distribution inputs, "FILE[:KEY]" or x.
        bits: "w8a7,w4a4"; None for the paper's grid: weights 3..8 at 7-bit activations, activations
            3..7 at 8-bit weights.
        ptq: quantise after training.
        qat: fine-tune with simulated quantisation.
        floats: evaluate the float network, with which every figure compares.
        seeds: a count, from seed 0, or the seeds: of random numbers, and of each fine-tuning.
        samples, task: as in qbnnc.compile.
        compile_options: the options of compiling, without the bits.
        tuning: the options of fine-tuning.
        shifts: evaluate images rotated, brightened and moved, in float and at the most bits.
        target_mean, target_std: mean and deviation by which the targets were standardised; metrics
            are in the units from before.
        workers: processes of this machine, one a physical core by default. They are started
            afresh, so a script keeps its calls below `if __name__ == "__main__":`.
        scheduler: the address of a Dask scheduler, whose workers are used instead.
        executor: any other executor that can send arrays to its workers.
        retry_failed: compute again the results that have an error.
        command: the command line, for the header of the file.
        progress: called with the extent of the results, after each job.

    Returns all results in the file. Raises UserError before anything is written if networks, data
    and options do not fit. The failure of one configuration is an error in its rows.
    """
    how = Tuning() if tuning is None else tuning
    labels = qat and how.training(seed=0).loss.needs_labels
    TargetUnits(target_mean, target_std).check()
    training, testing = _read(train, test, labels)
    chosen, its_seeds = _bits(bits), _seeds(seeds)
    chosen_workers = _workers(workers, scheduler, executor)
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
    if isinstance(chosen_workers, Cluster):
        chosen_workers.check()
    warn_of_few(len(study.calibration))
    if not qat:
        study = replace(study, train=None, train_labels=None)  # workers need none of it
    return run_study(
        study, plan, output, header, chosen_workers, retry_failed=retry_failed, progress=progress
    )


def _read(train: Labelled | ArrayLike, test: Labelled, labels: bool) -> tuple[RawData, RawData]:
    training = read_training(train, labels=labels)
    if labels and not has_labels(training):
        raise UserError(
            "this one needs labels", "`loss`", "give `train` with labels, or `loss='match'`"
        )
    return training, read_labelled(test, "the test data")


def _bits(bits: str | Sequence[Bits] | None) -> tuple[Bits, ...]:
    if bits is None:
        return paper_grid(PAPER_WEIGHTS, PAPER_ACTIVATIONS)
    return parse_bits(bits) if isinstance(bits, str) else ordered(bits)


def _seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    if isinstance(seeds, Sequence):
        chosen = tuple(dict.fromkeys(as_integer(seed, "`seeds`") for seed in seeds))
        if not chosen:
            raise InputError("give one or more", "`seeds`")
        return chosen
    return tuple(range(whole("seeds", seeds, 1)))


def _workers(workers: int | None, scheduler: str | None, executor: Executor | None) -> Workers:
    if workers is not None and (scheduler or executor) is not None:
        raise UserError("with `scheduler` the cluster's own workers are used", "`workers`")
    if executor is not None:
        return Given(executor)
    if scheduler is not None:
        return Cluster(scheduler)
    return Processes(physical_cores() if workers is None else whole("workers", workers, 1))


def run_study(
    study: Study,
    plan: Plan,
    output: str | os.PathLike[str],
    header: Header,
    workers: Workers,
    *,
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> tuple[Result, ...]:
    """Run the items that the file `output` lacks; return its results in the order of the plan.

    Results that the file holds already are kept, failed ones too unless `retry_failed`. After any
    interruption the file is whole, and the same call goes on from there.
    FileError if the file is another study's or cannot be written.
    """
    items = tuple(plan.items())
    with open_store(output, header) as store:
        held = {r.key for r in store.results() if not (retry_failed and r.error is not None)}
        missing = [item for item in items if item.key not in held]
        done, total = len(items) - len(missing), len(items)
        if progress is not None:
            progress(done, total, ())
        with closing(run_jobs(workers, study, jobs(missing))) as finished:
            for results in finished:
                for result in results:
                    store.add(result)
                done += len(results)
                if progress is not None:
                    progress(done, total, results)
        return store.finish(plan.networks)


def run_jobs(
    workers: Workers, study: Study, jobs: Iterable[Job]
) -> Generator[tuple[Result, ...], None, None]:
    """Yield the results of each job as they come; a job that fails gives rows with an error.

    A job whose worker dies is tried again at the end, with nothing beside it: memory may have been
    short. If it kills its worker once more, it is given up.
    """
    died: list[Job] = []
    with workers.open(study) as submit:
        running = {submit(job): job for job in jobs}
        for future in as_completed(running):
            if not future.cancelled() and isinstance(future.exception(), BrokenExecutor):
                died.append(running[future])
            else:
                yield _outcome(study, running[future], future)
    alone = Processes(1) if isinstance(workers, Processes) else workers
    for job in died:
        with alone.open(study) as submit:
            future = submit(job)
            if isinstance(future.exception(), BrokenExecutor):
                yield failures(study, job, _DIED)
            else:
                yield _outcome(study, job, future)


def _outcome(study: Study, job: Job, future: Future[tuple[Result, ...]]) -> tuple[Result, ...]:
    try:
        return future.result()
    except CancelledError:
        raise UserError(
            "the connection to the cluster was lost",
            "`scheduler`",
            "results until then are kept: run the same command again",
        ) from None
    except Exception as error:  # of the cluster: workers that were killed, results that are lost
        return failures(study, job, describe(error))
