"""A PyTorch module to a torch.export program; the module stays as it was."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.distributions import Distribution
from torch.export import Dim, ExportedProgram
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from qbnnc.frontend.module.snapshot import untouched
from qbnnc.frontend.module.wrappers import not_compiled
from qbnnc.frontend.program.locations import user_line
from qbnnc.frontend.program.output_names import plain_outputs
from qbnnc.frontend.torch_messages import first_line, quiet_torch
from qbnnc.frontend.torch_modes import Arguments, Function, FunctionMode, Keywords
from qbnnc.frontend.trace.attention import spelt_out, with_attention_spelt_out
from qbnnc.frontend.trace.cosines import CosinesAsProducts
from qbnnc.frontend.trace.embedding_bags import BagsAsRows
from qbnnc.frontend.trace.recurrent_dropout import with_dropout_between
from qbnnc.support.errors import CompileError, Loc


def trace(module: nn.Module, example: Tensor) -> ExportedProgram:
    """The program of `module` for inputs like `example` [batch, ...], any batch if it allows it.

    It is in torch's training IR, which still shows `dropout(x, p, False)` and batch norm's mode.
    The module's modes, attributes and buffers are put back. CompileError: it cannot be traced.
    """
    example = at_least_two_rows(example)
    with (
        untouched(module),
        plain_outputs(module),
        _tracing(),
        quiet_torch(),
        not_compiled(),
    ):
        try:
            program = torch.export.export(
                module, (example,), dynamic_shapes=_any_batch(module), strict=False
            )
        except CompileError:
            raise
        except Exception as error:  # torch.export lets through whatever the module raises
            raise _untraceable(module, error) from error
    _check_constants(program)
    with_dropout_between(program)
    with_attention_spelt_out(program)
    return program


def _any_batch(module: nn.Module) -> tuple[object, ...]:
    """Dynamic shapes of one input tensor; forward(*args) takes a tuple of tensors."""
    rows = {0: Dim.AUTO}
    parameters = list(inspect.signature(module.forward).parameters.values())
    starred = bool(parameters) and parameters[0].kind is inspect.Parameter.VAR_POSITIONAL
    return ((rows,),) if starred else (rows,)


def functionalise(program: ExportedProgram) -> ExportedProgram:
    """Make in-place ops pure and inline wrappers; conv2d, linear and pools stay whole.

    Otherwise in-place noise (`eps.normal_()`) would be a side effect that nothing refers to.
    CompileError: shapes do not fit, which happens only to a program from a damaged file.
    """
    with torch.no_grad(), quiet_torch():
        try:
            functional: ExportedProgram = program.run_decompositions({})
        except Exception as error:  # whatever an op raises on inputs that do not fit it
            raise CompileError(
                f"torch cannot run the program on its own ops ({first_line(error)})",
                "program",
                remedy="save it again if it comes from a file; else write the op that torch names "
                "by others, as x.std() and x.mean() for torch.std_mean(x)",
            ) from error
    return functional


def at_least_two_rows(example: Tensor) -> Tensor:
    """Repeat a batch of 1, as torch.export takes a size of 1 for a constant."""
    return torch.cat([example, example]) if example.shape[0] == 1 else example


class _DataIsDetach(FunctionMode):
    """Replaces `x.data` in forward by `x.detach()`; some layers write `eps.data.normal_()`."""

    def called(self, function: Function, args: Arguments, kwargs: Keywords) -> object:
        data = cast(property, torch.Tensor.data)  # a descriptor, typed as its value
        if function == data.__get__:
            return cast(Tensor, args[0]).detach()
        return function(*args, **kwargs)


@contextmanager
def _tracing() -> Iterator[None]:
    """Switch off gradients and the checks of distributions, which branch on tensor values."""
    validate = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        with torch.no_grad(), _DataIsDetach(), BagsAsRows(), CosinesAsProducts(), spelt_out():
            yield
    finally:
        Distribution.set_default_validate_args(validate)


def _check_constants(program: ExportedProgram) -> None:
    for name, constant in program.constants.items():
        if isinstance(constant, FakeTensor):
            raise CompileError(
                "is a tensor that forward makes and keeps, and has no value while tracing",
                name,
                remedy="make it in __init__ with register_buffer, or do not keep it",
            )


def _untraceable(module: nn.Module, error: Exception) -> CompileError:
    if _packs(error):
        return CompileError(
            "packs sequences (pack_padded_sequence and its kin), whose rows differ in length, "
            "which is not supported",
            Loc(type(module).__name__, user_line(error)),
            remedy="pad the rows to one length, and give the layer the tensor [batch, T, features] "
            "itself: all T steps are computed",
        )
    advice = "forward must not branch on the values of tensors, nor leave torch"
    if isinstance(error, GuardOnDataDependentSymNode):
        advice = (
            "forward reads a number from a tensor, by float(), int(), .item() or an if; make it a "
            "Python number in __init__, or multiply by a mask where it decides by chance; a number "
            "that is drawn chooses by a tensor: values[torch.randint(len(values), ())]"
        )
    said = f"{type(error).__name__}: {first_line(error)}"
    return CompileError(
        f"torch.export cannot trace forward ({said})",
        Loc(type(module).__name__, user_line(error)),
        remedy=advice,
    )


def _packs(error: Exception) -> bool:
    """Whether torch raised it in its functions, or layers, of packed sequences.

    A layer makes its first states of a size that only the values of a packed sequence tell.
    """
    frames = traceback.extract_tb(error.__traceback__)
    places = {Path(f.filename).parts[-3:] for f in frames}
    made = ("nn", "modules", "rnn.py") in places and "FakeTensor" in str(error)
    return made or ("nn", "utils", "rnn.py") in places
