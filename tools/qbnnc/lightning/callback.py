"""The callback that compiles."""

from __future__ import annotations

import copy
import logging
import os
import tempfile
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import new_class
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from qbnnc.api import compile
from qbnnc.evaluation.files import Evaluation, evaluate_files
from qbnnc.ir.model import Model
from qbnnc.lightning.training import (
    MOST_ROWS,
    Options,
    Trainer,
    best_weights,
    calibration_rows,
    inputs_of,
    monitored,
    own_random_numbers,
    pipeline_options,
)
from qbnnc.loading.artefacts import open_artefact
from qbnnc.loading.sources import SourceOptions, read_trained
from qbnnc.loading.writing import COptions, OnnxOptions, check_outputs, write_artefacts
from qbnnc.passes.pipeline import check_options
from qbnnc.support.errors import InputError, UserError
from qbnnc.verification.oracle import Drawing, verify

Path_: TypeAlias = str | os.PathLike[str]
_log = logging.getLogger(__name__)
_PACKAGES = ("lightning.pytorch", "pytorch_lightning")
_SHARDED = ("DeepSpeedStrategy", "FSDPStrategy", "ModelParallelStrategy")
_TRACED, _VERIFIED = 8, 32  # rows


def _callback() -> type:
    """A base that is a Callback of every Lightning that is installed: a Trainer asks for its own.

    UserError if there is none.
    """
    present = [name for name in _PACKAGES if find_spec(name.partition(".")[0]) is not None]
    if not present:
        raise UserError(
            "qbnnc.lightning needs lightning", remedy="install it with pip install lightning"
        )
    return new_class("Callback", tuple(import_module(name).Callback for name in present))


if TYPE_CHECKING:

    class _Callback: ...

else:
    _Callback = _callback()


class CompileAfterFit(_Callback):
    """Compile the network when `Trainer.fit` has ended.

    1. Before the first step: the outputs can be written, the options are valid, the checkpoint that
       is asked for is monitored, and the network can be read. Without `calibration` the last of
       these is checked on the first batch.
    2. After the fit: the network is compiled, the .onnx and .qbnn files are compared with the
       oracle by bit pattern, and `evaluation` is measured.
    3. The files are written last, whole, and all or none. An interrupted or failed training, and a
       `fast_dev_run`, write nothing.

    Only rank 0 does any of this. The random numbers of the training stay what they are without the
    callback. Weights are those of the last step, or with `weights="best"` those of the best
    checkpoint of the one ModelCheckpoint that monitors something.

    Then `compiled` is the Model, and `scores` what `evaluation` gave.
    """

    def __init__(
        self,
        outputs: Path_ | Sequence[Path_],
        *,
        calibration: ArrayLike | Tensor | None = None,
        weights: Literal["last", "best"] = "last",
        network: str = "",
        evaluation: Path_ | tuple[ArrayLike, ArrayLike] | None = None,
        options: Options | None = None,
        onnx: OnnxOptions | None = None,
        c: COptions | None = None,
        trust_pickle: bool = False,
    ) -> None:
        """Store the arguments.

        Args:
            outputs: one path or several, as `qbnnc.compile` takes them.
            calibration: 100 typical inputs or more, [N, *shape]. None keeps the inputs of the first
                training batches, 512 rows; a batch is then a tensor, or begins with one.
            weights: "last" or "best", see above.
            network: the path of the module to compile, such as "net"; "" is the LightningModule.
            evaluation: labelled data, as `qbnnc.evaluate` takes them.
            options: keyword arguments of `qbnnc.compile`: `bits`, `task`, `samples`, `dropout`, ...
            onnx: how .onnx files are written (`qbnnc.loading.writing.OnnxOptions`).
            c: how .c files are written (`qbnnc.loading.writing.COptions`).
            trust_pickle: read a best checkpoint that holds other objects than tensors, by pickle.
        """
        self.outputs = [outputs] if isinstance(outputs, str | os.PathLike) else list(outputs)
        self.weights, self.network, self.evaluation = weights, network, evaluation
        self.onnx, self.c, self.trust_pickle = onnx or OnnxOptions(), c or COptions(), trust_pickle
        self.options: Options = options or {}
        self.compiled: Model | None = None
        self.scores: Evaluation | None = None
        self._given = None if calibration is None else calibration_rows(calibration)
        self._kept: list[NDArray[np.float32]] = []

    def on_fit_start(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Raise UserError for what cannot come to a good end, before the training begins."""
        if not trainer.is_global_zero:
            return
        self.compiled, self.scores, self._kept = None, None, []
        check_outputs(self.outputs, onnx=self.onnx, c=self.c)
        strategy = type(trainer.strategy).__name__
        if strategy in _SHARDED:
            raise UserError(
                "no rank has the whole network",
                place=f"strategy {strategy}",
                remedy="compile a checkpoint with qbnnc compile after the training",
            )
        if self.weights not in ("last", "best"):
            raise UserError("choose last or best", place=f"`weights` {self.weights!r}")
        if self.weights == "best" and not trainer.fast_dev_run:
            monitored(trainer)
        pipeline_options(self.options)
        if self._given is not None:
            self._check_network(pl_module, self._given)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: nn.Module, batch: object, batch_idx: int
    ) -> None:
        """Keep inputs for the calibration, if none were given."""
        have = sum(map(len, self._kept))
        if self._given is not None or not trainer.is_global_zero or have >= MOST_ROWS:
            return
        rows = inputs_of(batch)
        if not self._kept:
            self._check_network(pl_module, rows)
        self._kept.append(rows[: MOST_ROWS - have].copy())

    def on_fit_end(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Compile, verify, evaluate, write; UserError, and no file, if one of these fails."""
        if not trainer.is_global_zero or trainer.fast_dev_run:
            return
        rows = np.concatenate(self._kept) if self._given is None and self._kept else self._given
        if rows is None:
            raise InputError(
                "there was no training batch", place="`calibration`", remedy="give inputs"
            )
        state = (
            None
            if self.weights == "last"
            else best_weights(trainer, trust_pickle=self.trust_pickle)
        )
        module = self._module(pl_module, state)
        with tempfile.TemporaryDirectory(prefix="qbnnc-") as folder, own_random_numbers():
            compiled = compile(module, Path(folder, "model.qbnn"), calibration=rows, **self.options)
            self._check_artefacts(compiled, Path(folder), rows)
        if self.evaluation is not None:
            (self.scores,) = evaluate_files([compiled], self.evaluation)
        paths = check_outputs(self.outputs, onnx=self.onnx, c=self.c)
        write_artefacts(compiled, paths, onnx=self.onnx, c=self.c)
        self.compiled, self._kept = compiled, []
        _log.info("compiled the %s weights: %s", self.weights, ", ".join(map(str, paths)))

    def _check_network(self, pl_module: nn.Module, rows: NDArray[np.float32]) -> None:
        """UserError if the network, with the weights of now, cannot be read or has other layers."""
        options = self.options
        reading = SourceOptions.of(
            dropout=options.get("dropout"), output_names=options.get("output_names")
        )
        with own_random_numbers():
            trained = read_trained(self._module(pl_module, None), rows[:_TRACED], reading)
        check_options(trained.model, pipeline_options(options))

    def _module(self, pl_module: nn.Module, state: dict[str, Tensor] | None) -> nn.Module:
        """A copy of the network in float32 on the CPU, in eval mode."""
        whole = copy.deepcopy(pl_module)
        if state is not None:
            whole.load_state_dict(state)
        try:
            module = whole.get_submodule(self.network)
        except AttributeError as error:
            raise UserError(str(error), place=f"`network` {self.network!r}") from None
        return module.cpu().float().eval()

    def _check_artefacts(self, compiled: Model, folder: Path, rows: NDArray[np.float32]) -> None:
        """UserError, which names the file, unless its samples have the oracle's bits."""
        for number, output in enumerate(map(Path, self.outputs)):
            if output.suffix not in (".onnx", ".qbnn"):
                continue
            path = folder / f"{number}{output.suffix}"
            onnx = self.onnx if output.suffix == ".onnx" else OnnxOptions()
            write_artefacts(compiled, [path], onnx=onnx, c=COptions())
            artefacts = {str(output): open_artefact(path)}
            (result,) = verify(compiled, artefacts, rows[:_VERIFIED], Drawing())
            if not result.equal:
                raise UserError(
                    f"{result.differing} of {result.values} samples are not the oracle's, first "
                    f"{result.first}",
                    place=output,
                    remedy="report it: nothing was written",
                )
