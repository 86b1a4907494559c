"""The compiler as straight functions: FLOAT Model and data to SIMULATED, SIMULATED to INTEGER."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Task
from qbnnc.ir.model import Model, Provenance
from qbnnc.ir.types import Stage
from qbnnc.passes.assign_head import with_head
from qbnnc.passes.base import Observer as PassObserver
from qbnnc.passes.base import Pass, run_passes
from qbnnc.passes.calibrate import Calibration, Progress, calibrate
from qbnnc.passes.fit_layers import FitLayers
from qbnnc.passes.fold_affine import FoldAffine
from qbnnc.passes.fold_dropout_scale import FoldDropoutScale
from qbnnc.passes.fold_zero_points import FoldZeroPoints
from qbnnc.passes.fuse_clamps import FuseClamps
from qbnnc.passes.fuse_elementwise import FuseElementwise
from qbnnc.passes.insert_fake_quantize import InsertFakeQuantize, layer_bits
from qbnnc.passes.options import MaskSharing, Quantisation
from qbnnc.passes.prove_overflow import ProveOverflow
from qbnnc.passes.quantize import Quantize
from qbnnc.passes.share_masks import ShareMasks
from qbnnc.passes.split_layers import SplitLayers
from qbnnc.passes.strip_softmax import StripSoftmax
from qbnnc.support.errors import InputError, UserError
from qbnnc.support.inputs import as_batch
from qbnnc.support.text import counted

DEFAULT_SAMPLES = 20
PASS_NAMES = (
    "cut-softmax",
    "share-masks",
    "split-layers",
    "fold-affine",
    "fuse-clamps",
    "fuse-elementwise",
    "fold-dropout-scale",
    "insert-fake-quantize",
    "fit-layers",
    "quantize",
    "fold-zero-points",
    "prove-overflow",
)


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that decides what the artefact is.

    `samples` is the draws of each member, L for a single network (None: 20, or 1 where nothing is
    random); `task` None is what the model says, or
    classification for a network that ends in a softmax or in a sigmoid of one number.
    """

    quantisation: Quantisation = field(default_factory=Quantisation)
    samples: int | None = None
    task: Task | None = None
    calibration: Calibration = field(default_factory=Calibration)


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told about progress: each pass's graph, the batches of the calibration, and the
    samples of the distribution check."""

    graph: PassObserver | None = None
    calibration: Progress | None = None
    distribution: Progress | None = None


def quantise_model(
    model: Model,
    rows: NDArray[np.float32],
    options: Options,
    *,
    version: str = "",
    watch: Watch | None = None,
) -> Model:
    """The INTEGER Model of a FLOAT one, calibrated on `rows` [N, *shape].

    Raises UserError (CompileError, InputError) where model, data and options do not fit.
    """
    return lower_model(simulate_model(model, rows, options, version=version, watch=watch), watch)


def simulate_model(
    model: Model,
    rows: NDArray[np.float32],
    options: Options,
    *,
    version: str = "",
    watch: Watch | None = None,
) -> Model:
    """The SIMULATED Model of a FLOAT one: SQ nodes in it, ranges calibrated on `rows` [N, *shape].

    Raises UserError (CompileError, InputError) where model, data and options do not fit.
    """
    model.check()
    rows = check_calibration(model, rows)
    model = with_head(model, options.task)
    draws = _draws(model, options)
    how, passes = options.calibration, options.calibration.passes_of(model.graph)
    options = replace(options, calibration=replace(how, outputs=options.quantisation.outputs))
    watch = Watch() if watch is None else watch
    members = tuple(
        _simulated(member, rows, options, _share(watch, number, len(model.members)))
        for number, member in enumerate(model.members)
    )
    chosen = options.quantisation
    widths = (chosen.bits_of(None), chosen.bits, *chosen.layers.values())
    provenance = Provenance(
        version,
        str(chosen),
        chosen.scheme(),
        how.describe(rows, passes, widths),
        distribution=model.provenance.distribution,
        left_out=model.provenance.left_out,
    )
    simulated = Model(members, model.head, draws, provenance)
    simulated.check()
    return simulated


def lower_model(model: Model, watch: Watch | None = None) -> Model:
    """The INTEGER Model of a SIMULATED one; CompileError where a layer has no integer form."""
    steps: tuple[Pass, ...] = (Quantize(), FoldZeroPoints(), ProveOverflow())
    tell = None if watch is None else watch.graph
    members = tuple(
        run_passes(member, steps, tell if number == 0 else None)
        for number, member in enumerate(model.members)
    )
    compiled = replace(model, members=members)
    compiled.check()
    return compiled


def _share(watch: Watch, member: int, members: int) -> Watch:
    """What is told of one member: passes of the first only, and its part of the calibration."""
    tell = watch.calibration
    if tell is None or members == 1:
        return watch if member == 0 else Watch(None, tell)

    def progress(done: int, total: int) -> None:
        tell(member * total + done, members * total)

    return Watch(watch.graph if member == 0 else None, progress)


def relabel(model: Model, options: Options) -> Model:
    """Another number of samples or another task for a model whose integers stay as they are."""
    draws = model.draws if options.samples is None else _draws(model, options)
    relabelled = replace(with_head(model, options.task), draws=draws)
    relabelled.check()
    return relabelled


def check_calibration(model: Model, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Calibration data as a batch; InputError if it is empty, of another shape, or holds NaN."""
    batch = as_batch(rows, model.graph.input.type.shape, "the calibration data")
    if len(batch) == 0:
        raise InputError(
            "no rows", place="the calibration data", remedy="give 100 or more typical inputs"
        )
    if not np.isfinite(batch).all():
        raise InputError("infinity", place="the calibration data", remedy="remove such rows")
    return batch


def check_options(model: Model, options: Options) -> None:
    """UserError if the task, the samples or a layer's bits do not fit a FLOAT model."""
    with_head(model, options.task), _draws(model, options)
    check_layers(model, options.quantisation)


def check_layers(model: Model, quantisation: Quantisation) -> None:
    """CompileError if a FLOAT model has no such layer as is given bits of its own."""
    if quantisation.layers:
        layer_bits(_ready(model.graph, quantisation, Watch()), quantisation)


def _ready(graph: Graph, quantisation: Quantisation, watch: Watch) -> Graph:
    """A FLOAT graph in which every layer is one that can be quantised."""
    if graph.stage is not Stage.FLOAT:
        raise UserError(
            f"the model is {graph.stage.name} already", remedy="compile the float model"
        )
    shared = quantisation.mask_sharing is MaskSharing.BATCH
    return run_passes(graph, (StripSoftmax(), *_rewrites(shared=shared)), watch.graph)


def _rewrites(*, shared: bool) -> tuple[Pass, ...]:
    return (
        ShareMasks(shared),
        SplitLayers(),
        FoldAffine(),
        FuseClamps(),
        FuseElementwise(),
        FoldDropoutScale(),
    )


def comparable(graph: Graph, *, shared: bool) -> Graph:
    """What the passes that rewrite FLOAT make of a graph; its outputs stay those of the module.

    `shared` gives every row the masks of row 0. CompileError where a layer has no integer form.
    """
    _ready(graph, Quantisation(), Watch())
    return run_passes(graph, _rewrites(shared=shared))


def _simulated(graph: Graph, rows: NDArray[np.float32], options: Options, watch: Watch) -> Graph:
    how, quantisation = options.calibration, options.quantisation
    graph = _ready(graph, quantisation, watch)
    layer_bits(graph, quantisation)  # calibration takes long: a misspelt layer is told before
    ranges = calibrate(graph, rows, how, watch.calibration, quantisation)
    insert = InsertFakeQuantize(ranges, quantisation, how)
    fit = FitLayers(graph, rows, how, quantisation)
    return run_passes(graph, [insert, fit], watch.graph)


def _draws(model: Model, options: Options) -> int:
    members, wanted = len(model.members), options.samples
    if not model.stochastic:
        if wanted not in (None, 1):
            raise UserError(
                f"nothing in this network is random, so it gives {counted(members, 'sample')}",
                place=f"`samples` {wanted}",
                remedy="leave `samples` out",
            )
        return 1
    draws = DEFAULT_SAMPLES if wanted is None else wanted
    if draws < 1:
        raise UserError("give 1 or more", place=f"`samples` {wanted}")
    return draws
