"""Modules that draw their samples themselves: several predictions for each row of the batch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from qbnnc.frontend.watching import Watched
from qbnnc.ir.errors import CompileError, Loc

_INSIDE = ("core_model", "model", "net", "network", "base_model", "module")


def check_rows(module: nn.Module, rows: int, outputs: Sequence[Tensor], seen: Watched) -> None:
    """CompileError if the first output has several predictions for each of the `rows`.

    So do the wrappers of libraries for Monte-Carlo sampling (torch-uncertainty's MCDropout): the
    network inside is what is compiled. `seen` is what one call did.
    """
    shape = tuple(outputs[0].shape) if outputs else ()
    often = any(seen.called.count(child) > 1 for child in module.children())
    if not shape or shape[0] == rows or rows < 2 or not (often or seen.draws):
        return
    joined = shape[0] // rows if shape[0] % rows == 0 else 0
    stacked = shape[0] if len(shape) > 1 and shape[1] == rows else 0
    samples = joined if joined > 1 else stacked
    if samples > 1:
        inside = _inside(module, seen.called)
        advice = f"compile {inside} instead" if inside else "compile the network inside"
        raise CompileError(
            f"forward gives {samples} predictions for each row (its output is {list(shape)} for "
            f"{rows} rows): it draws its samples itself, and joins them along the batch; "
            f"{advice}, and ask the compiled one for samples={samples}",
            Loc(type(module).__name__),
        )


def _inside(module: nn.Module, called: Sequence[nn.Module]) -> str:
    """The network that a wrapper calls, as an attribute: by its usual names, or the only child."""
    children = dict(module.named_children())
    for name in _INSIDE:
        if name in children:
            return f".{name}"
    often = [name for name, child in children.items() if called.count(child) > 1]
    only = often if len(often) == 1 else list(children)
    return f".{only[0]}" if len(only) == 1 else ""
