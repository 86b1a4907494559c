"""The public API: save a trained network, compile it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Unpack

from qbnnc.evaluation.spread_check import warn_of_spread
from qbnnc.ir import format
from qbnnc.ir.model import Model
from qbnnc.ir.types import Stage
from qbnnc.loading.sources import (
    Dropout,
    SourceOptions,
    Trained,
    known_model,
    model_of,
    names_from,
    read_trained,
    warn_of_few,
    with_calibration,
)
from qbnnc.loading.writing import COptions, OnnxOptions, check_outputs, write_artefacts
from qbnnc.options import given_options, options_from
from qbnnc.passes.head.assign_head import name_outputs
from qbnnc.passes.options import CompileOptions, Quantisation
from qbnnc.passes.pipeline import (
    Watch,
    check_calibration,
    check_options,
    lower_model,
    relabel,
    simulate_model,
)
from qbnnc.passes.ranges.calibrate import calibration_of
from qbnnc.support.errors import FileError, InputError, UserError
from qbnnc.support.extras import require
from qbnnc.support.several_inputs import Arrays
from qbnnc.verification.distribution import DistributionCheck, checked
from qbnnc.version import COMPILER

if TYPE_CHECKING:
    from torch import Tensor

Path_: TypeAlias = str | os.PathLike[str]


def save(
    module: object,
    path: Path_,
    example_inputs: Tensor | Sequence[Tensor] | Mapping[str, object] | None = None,
    *,
    calibration: Arrays | None = None,
    dropout: Dropout | None = None,
    distribution_check: DistributionCheck = "default",
    output_names: str | Sequence[str] | None = None,
    member_axis: int | None = None,
) -> None:
    """Save a trained or fine-tuned network so that it can be compiled without its Python code.

    `module` is a module, an object of a library (docs/how-to/posteriors-of-libraries.md), a Model,
    or a list of such members of an ensemble.
    With the suffix .qbnn a FLOAT Model, which compiles without torch; otherwise a torch.export
    archive. `example_inputs` is one tensor [batch, ...], or several: a tuple of them, or a dict by
    the names of forward's arguments. `calibration` is given alike, and up to 512 rows of
    it travel with the network. `dropout`: "active" or "off" for dropout modules that
    eval() switched off. `output_names`: what forward returns, such as "mean,variance", where no
    dict or NamedTuple says so. `member_axis`, `distribution_check`: see `compile`; later there is
    no module to compare with. What `prepare_qat` or `finetune` gave, or another Model, needs a
    .qbnn, and no example. Raises UserError, and writes nothing, if the network cannot be compiled.
    """
    if (known := known_model(module)) is not None:
        _save_model(with_calibration(known, calibration), path)
        return
    require("torch", what="qbnnc.save")
    if Path(path).suffix == ".onnx":
        raise FileError("save writes .pt or .qbnn", path, remedy="to get ONNX use qbnnc.compile")
    from qbnnc.frontend import example_array, members_of, read_modules, save_traced

    modules = members_of(module)
    if modules is None:
        raise InputError(
            "neither a torch.nn.Module nor a list of them", place="module", remedy="save one by one"
        )
    if len(modules) > 1 and Path(path).suffix != ".qbnn":
        raise FileError("an ensemble is saved as .qbnn", path, remedy="give a name that ends so")
    if example_inputs is None:
        raise InputError("a module needs a batch to be traced with", place="example_inputs")
    names = names_from(output_names)
    source = read_modules(modules, example_inputs, dropout=dropout, member_axis=member_axis)
    model = model_of(source)
    model = name_outputs(model, names) if names else model
    model = with_calibration(model, calibration)
    rows = model.calibration
    if rows is None:
        rows = example_array(modules[0], example_inputs)
    model = checked(Trained(model, source.references), rows, Quantisation(), distribution_check)
    if Path(path).suffix == ".qbnn":
        format.save(model, path)
    else:
        verdict = model.provenance.distribution
        rows = model.calibration
        first, path = source.members[0], os.fspath(path)
        save_traced(first, path, rows, checked=verdict, outputs=names, member_axis=member_axis)


def _save_model(model: Model, path: Path_) -> None:
    if Path(path).suffix != ".qbnn":
        raise FileError(
            "a fine-tuned network is saved as .qbnn", path, remedy="give a name that ends so"
        )
    format.save(model, path)


def compile(
    source: object,
    outputs: Path_ | Sequence[Path_],
    *,
    calibration: Arrays | None = None,
    samples: int | None = None,
    task: str | None = None,
    model: str | None = None,
    model_args: Mapping[str, object] | None = None,
    dropout: Dropout | None = None,
    trust_pickle: bool = False,
    distribution_check: DistributionCheck = "default",
    output_names: str | Sequence[str] | None = None,
    member_axis: int | None = None,
    spread_check: bool = True,
    embedded_model: bool = True,
    batch: int | None = None,
    inline: bool = False,
    row_ids: bool = False,
    default_seed: int | None = None,
    ram: int | None = None,
    prefix: str | None = None,
    blob: bool | None = None,
    watch: Watch | None = None,
    **compile_options: Unpack[CompileOptions],
) -> Model:
    """Compile a network to the artefacts `outputs` (.onnx, .qbnn, .c, a folder); returns the Model.

    `source` is a module, a Model, or a file: an exported program, weights with `model`, or a
    .qbnn. It may be an object of a library, such as laplace-torch's, which then needs
    `calibration` (docs/how-to/posteriors-of-libraries.md). A list of modules or objects, several
    files, or a folder of them, are the members of an ensemble.
    `compile_options`: bits and all else that decides the integers, see
    qbnnc.passes.options.CompileOptions. `calibration` [N, *shape]: 100 or more typical inputs, of
    which 512, evenly spaced, are used. For a network of several inputs it is a tuple of arrays, or
    a dict by the names of forward's arguments. `samples`: L (default 20; 1 where nothing is
    random), for an ensemble the samples per member. `task`: "raw", "classification" or
    "regression". `output_names`: names of the outputs, such as "mean,variance", where no dict or
    NamedTuple has them. `member_axis`: the axis of the outputs that holds the members of an
    ensemble inside one module; [members, batch, ...] needs none (docs/how-to/ensembles.md). A
    compiled .qbnn is only written in other formats, with other samples or
    another task: options that decide its integers are refused. They are refused for a fine-tuned
    one too, whose ranges are decided. `distribution_check`: the float graph is compared with the
    module (docs/explanation/distribution.md); "full" draws more samples, None skips it, which the
    artefact says. `spread_check`: a SpreadWarning tells where the predicted spread is another than
    float's. Without an `embedded_model` an .onnx has only what onnxruntime needs: it runs, and is
    verified beside its .qbnn, but cannot be inspected or evaluated. With `batch` an .onnx takes
    exactly so many rows, and all its shapes are fixed. An `inline` one is for engines other than
    onnxruntime (docs/how-to/engines.md). With `row_ids` an .onnx has the input `row_ids` [batch] in
    place of `first_row`; with a `default_seed` its callers may leave out `seed`, and `first_row`,
    which is then 0 (docs/how-to/serving.md). A .c has a header and a test beside it. A path that
    ends with a slash, or is a folder, is a project for firmware (docs/how-to/microcontroller.md).
    `prefix` begins the names of C functions; it is that of the file or folder by default. `ram` is
    the most bytes that the values take: layers behind dropout then take the fastest form that fits.
    With a `blob` large constants are a binary file that the assembler includes; by default above 1
    MB.

    Raises UserError: the text says where, what is wrong and what to do. Nothing is written then.
    """
    inputs = _paths_among(source)
    onnx = OnnxOptions(embedded_model, batch, inline, row_ids, default_seed)
    c = COptions(ram, prefix, blob)
    paths = check_outputs(_several(outputs), inputs, onnx=onnx, c=c)
    options = options_from(compile_options, samples, task)
    reading = SourceOptions.of(model, model_args, dropout, trust_pickle, output_names, member_axis)
    trained = source if isinstance(source, Trained) else read_trained(source, calibration, reading)
    model_ = trained.model
    if model_.stage is not Stage.FLOAT:
        given = given_options(compile_options) + ["calibration"] * (calibration is not None)
        _refuse_remaking(given, model_.stage)
        compiled = relabel(model_, options)
        if compiled.stage is Stage.SIMULATED:
            compiled = lower_model(compiled, watch)
    else:
        rows = check_calibration(model_, calibration_of(model_))
        warn_of_few(len(rows))
        check_options(model_, options)
        tell = None if watch is None else watch.distribution
        model_ = checked(trained, rows, options.quantisation, distribution_check, tell)
        simulated = simulate_model(model_, rows, options, version=COMPILER, watch=watch)
        compiled = lower_model(simulated, watch)
        if spread_check:
            warn_of_spread(model_, simulated, rows, options)
    write_artefacts(compiled, paths, onnx=onnx, c=c)
    return compiled


def _several(paths: Path_ | Sequence[Path_]) -> Sequence[Path_]:
    return [paths] if isinstance(paths, str | os.PathLike) else paths


def _paths_among(source: object) -> list[Path_]:
    """The files and folders that a network is read from; none of what is in memory."""
    several = source if isinstance(source, list | tuple) else [source]
    return [each for each in several if isinstance(each, str | os.PathLike)]


def _refuse_remaking(given: Sequence[str], stage: Stage) -> None:
    done = "compiled" if stage is Stage.INTEGER else "fine-tuned"
    if given:
        raise UserError(
            f"{done} already, and its integers stay as they are",
            place="the source",
            remedy=f"leave `{given[0]}` out, or compile the trained model again",
        )
