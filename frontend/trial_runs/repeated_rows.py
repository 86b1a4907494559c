"""Modules that give several predictions for each row: samplers, and ensembles in one module."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from qbnnc.frontend.trial_runs.watched_call import Watched
from qbnnc.support.errors import CompileError, Loc

_INSIDE = ("core_model", "model", "net", "network", "base_model", "module")


def check_rows(module: nn.Module, rows: int, outputs: Sequence[Tensor], seen: Watched) -> None:
    """Raise CompileError if the first output has several predictions for each of the `rows`.

    Wrappers for Monte-Carlo sampling (torch-uncertainty's MCDropout) do so, around a network that
    compiles. Ensembles in one module (packed ensembles, BatchEnsemble) do so, too. Those with an
    axis of members in front of the batch compile. `seen` is the record of one call.
    """
    samples = _predictions(outputs[0], rows) if outputs else 0
    if samples < 2 or _is_kept(outputs[0], module):
        return
    often = any(seen.called.count(child) > 1 for child in module.children() if _has_weights(child))
    if _is_stacked(outputs[0], rows) and not often:
        return
    gives = (
        f"forward gives {samples} predictions for each row (its output is "
        f"{list(outputs[0].shape)} for {rows} rows): "
    )
    if often or seen.draws:
        inside = _inside(module, seen.called, samples)
        advice = f"compile {inside} instead" if inside else "compile the network inside"
        gives += "it draws its samples itself, and joins them along the batch"
        remedy = f"{advice}, and ask the compiled one for samples={samples}"
    else:
        gives += (
            "the members of an ensemble are joined along the batch (packed ensembles, "
            "BatchEnsemble, MIMO and wrappers of deep ensembles do so), and every layer must treat "
            "the rows of a batch one by one"
        )
        remedy = (
            "make a network of each member, and compile a list of these: "
            "qbnnc.compile([member, ...], ...), or choose a member at random in forward: "
            "values[torch.randint(len(values), (1,))]"
        )
    raise CompileError(gives, Loc(type(module).__name__), remedy)


def _predictions(output: Tensor, rows: int) -> int:
    """The number of predictions for a row, joined with the batch [M * B, ...] or before it."""
    shape = tuple(output.shape)
    if not shape or shape[0] == rows or rows < 2:
        return 0
    joined = shape[0] // rows if shape[0] % rows == 0 else 0
    stacked = shape[0] if len(shape) > 1 and shape[1] == rows else 0
    return joined if joined > 1 else stacked


def _is_stacked(output: Tensor, rows: int) -> bool:
    """Whether the second axis is the batch, and the first one does not hold it too."""
    shape = tuple(output.shape)
    return len(shape) > 1 and shape[1] == rows and (len(shape) > 2 or shape[0] % rows > 0)


def _is_kept(output: Tensor, module: nn.Module) -> bool:
    """Whether forward returns a parameter or buffer, which has no rows."""
    kept = {tensor.data_ptr() for tensor in (*module.parameters(), *module.buffers())}
    return output.data_ptr() in kept


def _has_weights(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())


def _inside(module: nn.Module, called: Sequence[nn.Module], samples: int) -> str:
    """The attribute that holds the network in a wrapper: a usual name, or the only one."""
    children = {name: child for name, child in module.named_children() if _has_weights(child)}
    for name in _INSIDE:
        if name in children:
            return f".{name}"
    often = [name for name, child in children.items() if called.count(child) == samples]
    only = often if len(often) == 1 else list(children)
    return f".{only[0]}" if len(only) == 1 else ""
