"""Objects of libraries, told by their classes and attributes without an import of the library."""

from __future__ import annotations

from torch import Tensor, nn

from qbnnc.frontend.module.wrappers import unwrapped
from qbnnc.support.errors import CompileError


def libraries(value: object) -> frozenset[str]:
    """The packages of an object's class and of its base classes."""
    return frozenset(each.__module__.partition(".")[0] for each in type(value).__mro__)


def class_names(value: object) -> tuple[str, ...]:
    """The names of an object's class and of its base classes, the class first."""
    return tuple(each.__name__ for each in type(value).__mro__)


def name_of(value: object) -> str:
    """The name of an object's class, as a place of errors."""
    return type(value).__qualname__


def network_of(value: object, place: str) -> nn.Module:
    """The network that an object holds; CompileError if it is none."""
    if not isinstance(value, nn.Module):
        raise CompileError(
            f"holds a {type(value).__name__} in place of a network",
            place,
            remedy="compile a torch.nn.Module",
        )
    return unwrapped(value)


def tensor_of(value: object, what: str, place: str) -> Tensor:
    """A tensor; CompileError if `what` is none, as in an object that was not fitted."""
    if not isinstance(value, Tensor):
        raise CompileError(
            f"has no {what}: it is not fitted yet", place, remedy="fit it to training data first"
        )
    return value


def parameters_of(network: nn.Module, chosen: list[Tensor], place: str) -> dict[str, Tensor]:
    """The `chosen` parameters of a network by name; CompileError if one is not its own."""
    names = {id(tensor): name for name, tensor in network.named_parameters()}
    if not all(id(tensor) in names for tensor in chosen):
        raise CompileError(
            "its posterior is over parameters that its network does not have",
            place,
            remedy="fit it to the network that it holds now",
        )
    return {names[id(tensor)]: tensor for tensor in chosen}
