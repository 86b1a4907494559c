"""The pipeline: every pass in order; and the Models before, between and after its levels."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Task
from qbnnc.ir.ids import rows_taken_by
from qbnnc.ir.model import Model, Provenance
from qbnnc.ir.types import Stage
from qbnnc.passes.base import Observer as PassObserver
from qbnnc.passes.base import Pipeline
from qbnnc.passes.fitting.fit_layers import FitLayers
from qbnnc.passes.fusion.carry_states import CarryStates
from qbnnc.passes.fusion.fold_affine import FoldAffine
from qbnnc.passes.fusion.fold_dropout_scale import FoldDropoutScale
from qbnnc.passes.fusion.fuse_clamps import FuseClamps
from qbnnc.passes.fusion.fuse_elementwise import FuseElementwise
from qbnnc.passes.fusion.noise import ShareMasks
from qbnnc.passes.fusion.recognise_norms import RecogniseNorms
from qbnnc.passes.fusion.scale_softmax import ScaleSoftmax
from qbnnc.passes.fusion.split_layers import SplitLayers
from qbnnc.passes.fusion.spread_interpolations import SpreadInterpolations
from qbnnc.passes.head.assign_head import with_head
from qbnnc.passes.head.strip_softmax import StripSoftmax
from qbnnc.passes.integer.accumulators import FoldZeroPoints, ProveOverflow
from qbnnc.passes.integer.quantize import Quantize
from qbnnc.passes.options import MaskSharing, Quantisation
from qbnnc.passes.ranges.calibrate import Calibration, Progress, Ranges, calibrate
from qbnnc.passes.ranges.equalise_channels import EqualiseChannels
from qbnnc.passes.ranges.insert_fake_quantize import InsertFakeQuantize, RangesOf, layer_bits
from qbnnc.passes.ranges.outer_bits import with_outer_bits
from qbnnc.passes.recorded_options import (
    as_trained,
    names_to_record,
    recorded_options,
    with_names,
)
from qbnnc.support.errors import InputError, UserError
from qbnnc.support.text import counted

DEFAULT_SAMPLES = 20


def pipeline(
    quantisation: Quantisation | None = None,
    calibration: Calibration | None = None,
    rows: NDArray[np.float32] | None = None,
    *,
    progress: Progress | None = None,
    ranges_of: RangesOf | None = None,
) -> Pipeline:
    """Every pass, in the order in which a FLOAT graph becomes an INTEGER one.

    `rows` [N, *shape] are the calibration data, which equalise-channels, insert-fake-quantize and
    fit-layers ask for.
    `ranges_of` observes the ranges; by default `calibrate` does, and `progress` hears of it.
    """
    chosen = Quantisation() if quantisation is None else quantisation
    how = replace(calibration or Calibration(), outputs=chosen.outputs)

    def observed(graph: Graph) -> Ranges:
        if rows is None:
            raise UserError(
                "observes ranges on calibration rows, and there are none", "insert-fake-quantize"
            )
        return calibrate(graph, rows, how, progress, chosen)

    return Pipeline(
        (
            StripSoftmax(),
            ShareMasks(chosen.mask_sharing is MaskSharing.BATCH),
            RecogniseNorms(),
            ScaleSoftmax(),
            SpreadInterpolations(),
            SplitLayers(),
            FoldAffine(),
            FuseClamps(),
            FuseElementwise(),
            FoldDropoutScale(),
            CarryStates(),
            EqualiseChannels(rows, how, chosen),
            InsertFakeQuantize(ranges_of or observed, chosen, how),
            FitLayers(rows, how, chosen),
            Quantize(),
            FoldZeroPoints(),
            ProveOverflow(),
        )
    )


PASS_NAMES = pipeline().names
_FIRST_CALIBRATED, _FIRST_OF_INTEGER = "equalise-channels", "quantize"


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that decides what the artefact is.

    `samples` is the number of samples that each member gives, L for a single network. None is 20,
    or 1 where nothing is random. `task` None is the model's own task, or classification for a
    network that ends in a softmax or in a sigmoid of one number.
    """

    quantisation: Quantisation = field(default_factory=Quantisation)
    samples: int | None = None
    task: Task | None = None
    calibration: Calibration = field(default_factory=Calibration)


@dataclass(frozen=True, slots=True)
class Watch:
    """Callbacks for progress.

    `graph` receives each pass's graph, `calibration` the batches of the calibration, and
    `distribution` the samples of the distribution check.
    """

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
    """Compile a FLOAT Model to an INTEGER one, calibrated on `rows` [N, *shape].

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
    """Make a SIMULATED Model of a FLOAT one: FakeQuantize nodes with ranges observed on `rows`.

    Raises UserError (CompileError, InputError) where model, data and options do not fit.
    """
    model.check()
    rows = check_calibration(model, rows)
    names = names_to_record(model)
    model = with_head(model, options.task)
    samples = _samples(model, options)
    chosen, how = _with_outer_bits(model, options.quantisation), options.calibration
    passes, widths = how.passes_of(model.graph), (chosen.bits_of(None), chosen.bits)
    watch = Watch() if watch is None else watch
    members = []
    for number, member in enumerate(model.members):
        tell = _share(watch, number, len(model.members))
        steps = pipeline(chosen, how, rows, progress=tell.calibration).before(_FIRST_OF_INTEGER)
        members.append(steps(_float(member), tell.graph))
    provenance = Provenance(
        version,
        str(chosen),
        chosen.scheme(),
        how.describe(rows, passes, (*widths, *chosen.layers.values())),
        distribution=model.provenance.distribution,
        left_out=model.provenance.left_out,
        options=recorded_options(options.quantisation, how, names),
    )
    simulated = Model(tuple(members), model.head, samples, provenance)
    simulated.check()
    return simulated


def lower_model(model: Model, watch: Watch | None = None) -> Model:
    """Make an INTEGER Model of a SIMULATED one; CompileError for a layer without integer form."""
    steps, tell = pipeline().since(_FIRST_OF_INTEGER), None if watch is None else watch.graph
    members = tuple(
        steps(member, tell if number == 0 else None) for number, member in enumerate(model.members)
    )
    compiled = replace(model, members=members)
    compiled.check()
    return compiled


def ready_model(model: Model, options: Options) -> Model:
    """Run the passes that need no data: every layer of the FLOAT Model returned can be quantised.

    Raises UserError where the task, the samples or a layer's bits do not fit the model.
    """
    model = with_head(model, options.task)
    steps = pipeline(options.quantisation).before(_FIRST_CALIBRATED)
    members = tuple(steps(_float(member)) for member in model.members)
    layer_bits(members[0], options.quantisation)
    return replace(model, members=members, draws=_samples(model, options))


def relabel(model: Model, options: Options) -> Model:
    """Give a Model another number of samples or another task; its integers stay as they are.

    Raw outputs have the order and the names of the trained network's, where these are recorded.
    """
    samples = model.draws if options.samples is None else _samples(model, options)
    if options.task is Task.RAW:
        model = as_trained(model)
    recorded = with_names(model.provenance.options, names_to_record(model))
    relabelled = replace(
        with_head(model, options.task),
        draws=samples,
        provenance=replace(model.provenance, options=recorded),
    )
    relabelled.check()
    return relabelled


def comparable(graph: Graph, *, shared: bool) -> Graph:
    """Run the passes that need no data, but keep the outputs of the module: no softmax is cut.

    `shared` gives every row the masks of row 0. CompileError where a layer has no integer form.
    """
    sharing = MaskSharing.BATCH if shared else MaskSharing.ROW
    steps = pipeline(Quantisation(mask_sharing=sharing)).before(_FIRST_CALIBRATED)
    steps(_float(graph))
    return steps.since("share-masks")(graph)


def check_calibration(model: Model, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return calibration data as a batch; InputError if it is empty, misshapen, or not finite."""
    batch = rows_taken_by(model.graph).of(rows, "the calibration data")
    if len(batch) == 0:
        raise InputError(
            "no rows", place="the calibration data", remedy="give 100 or more typical inputs"
        )
    if not np.isfinite(batch).all():
        raise InputError("infinity", place="the calibration data", remedy="remove such rows")
    return batch


def check_options(model: Model, options: Options) -> None:
    """UserError if the task, the samples or a layer's bits do not fit a FLOAT model."""
    with_head(model, options.task), _samples(model, options)
    check_layers(model, options.quantisation)


def check_layers(model: Model, quantisation: Quantisation) -> None:
    """CompileError if a FLOAT model lacks a layer that is given bits of its own."""
    if quantisation.layers:
        steps = pipeline(quantisation).before(_FIRST_CALIBRATED)
        layer_bits(steps(_float(model.graph)), quantisation)


def _float(graph: Graph) -> Graph:
    if graph.stage is not Stage.FLOAT:
        raise UserError(
            f"the model is {graph.stage.name} already", remedy="compile the float model"
        )
    return graph


def _share(watch: Watch, member: int, members: int) -> Watch:
    """Callbacks for one member: passes of the first only, and its part of the calibration."""
    tell, graph = watch.calibration, watch.graph if member == 0 else None
    if tell is None or members == 1:
        return Watch(graph, tell)

    def progress(done: int, total: int) -> None:
        tell(member * total + done, members * total)

    return Watch(graph, progress)


def _with_outer_bits(model: Model, chosen: Quantisation) -> Quantisation:
    """The options with the bits of the outer hidden layers; their members have the same."""
    if chosen.outer_width == chosen.bits.activations:
        return chosen
    steps = pipeline(chosen).before(_FIRST_CALIBRATED)
    return with_outer_bits(chosen, steps(_float(model.graph)))


def _samples(model: Model, options: Options) -> int:
    members, wanted = len(model.members), options.samples
    if not model.stochastic:
        if wanted not in (None, 1):
            raise UserError(
                f"nothing in this network is random, so it gives {counted(members, 'sample')}",
                place=f"`samples` {wanted}",
                remedy="leave `samples` out",
            )
        return 1
    samples = DEFAULT_SAMPLES if wanted is None else wanted
    if samples < 1:
        raise UserError("give 1 or more", place=f"`samples` {wanted}")
    return samples
