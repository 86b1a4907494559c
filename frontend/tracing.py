"""A PyTorch module to a torch.export program, without leaving a mark on the module."""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.distributions import Distribution
from torch.export import Dim, ExportedProgram
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.overrides import TorchFunctionMode

from qbnnc.frontend.outputs import plain_outputs
from qbnnc.frontend.quiet import quiet_torch
from qbnnc.frontend.state import untouched
from qbnnc.frontend.wrappers import not_compiled
from qbnnc.support.errors import CompileError, Loc

_TORCH_ITSELF = re.compile(r"(^|[/\\]site-packages[/\\])torch[/\\]")


def trace(module: nn.Module, example: Tensor) -> ExportedProgram:
    """The program of `module` for inputs like `example` [batch, ...], any batch if it allows it.

    In torch's training IR: `dropout(x, p, False)` and batch norm's mode are still to be seen. The
    module's modes, attributes and buffers are as they were. CompileError: cannot be traced.
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
        except Exception as error:  # torch.export lets through whatever the module raises
            raise _untraceable(module, error) from error
    _check_constants(program)
    return program


def _any_batch(module: nn.Module) -> tuple[object, ...]:
    """Dynamic shapes of one input tensor; forward(*args) takes a tuple of tensors."""
    rows = {0: Dim.AUTO}
    parameters = list(inspect.signature(module.forward).parameters.values())
    starred = bool(parameters) and parameters[0].kind is inspect.Parameter.VAR_POSITIONAL
    return ((rows,),) if starred else (rows,)


def functionalise(program: ExportedProgram) -> ExportedProgram:
    """In-place ops become pure and wrappers are inlined; conv2d, linear, pools stay whole.

    In-place noise (`eps.normal_()`) would otherwise be a side effect that nothing refers to.
    CompileError: shapes that do not fit, which only a program from a damaged file can have.
    """
    with torch.no_grad(), quiet_torch():
        try:
            functional: ExportedProgram = program.run_decompositions({})
        except Exception as error:  # whatever an op raises on inputs that do not fit it
            raise CompileError(
                f"torch cannot run the program on its own ops ({first_line(error)})",
                "program",
                remedy="save it again",
            ) from error
    return functional


def at_least_two_rows(example: Tensor) -> Tensor:
    """torch.export takes a size of 1 for a constant: a batch of 1 is repeated."""
    return torch.cat([example, example]) if example.shape[0] == 1 else example


class _DataIsDetach(TorchFunctionMode):
    """`x.data` inside forward (layers that write `eps.data.normal_()`) as `x.detach()`."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        if func == cast(property, torch.Tensor.data).__get__:  # a descriptor, typed as its value
            return cast(Tensor, args[0]).detach()
        return func(*args, **(kwargs or {}))


@contextmanager
def _tracing() -> Iterator[None]:
    """No gradients; and no checks of a distribution's arguments, which branch on tensor values."""
    validate = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        with torch.no_grad(), _DataIsDetach():
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
    advice = "forward must not branch on the values of tensors, nor leave torch"
    if isinstance(error, GuardOnDataDependentSymNode):
        advice = (
            "forward reads a number from a tensor, by float(), int(), .item() or an if; make it a "
            "Python number in __init__, or multiply by a mask where it decides by chance"
        )
    said = f"{type(error).__name__}: {first_line(error)}"
    return CompileError(
        f"torch.export cannot trace forward ({said})",
        Loc(type(module).__name__, user_line(error)),
        remedy=advice,
    )


def user_line(error: Exception) -> str:
    """ "net.py:42": the innermost line that is neither torch's nor ours; "" if there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = Path(__file__).parent
    own = [f for f in frames if not is_torch_file(f.filename) and Path(f.filename).parent != ours]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""


def is_torch_file(name: str) -> bool:
    """Whether a file of Python code belongs to torch (its traces name some without a folder)."""
    return _TORCH_ITSELF.search(name) is not None


def first_line(error: Exception) -> str:
    """The first line of torch's message, which may have hundreds; its type if it has none."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)[:200]
