"""Any source in memory, as the members of an ensemble: modules, or objects of libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import nn

from qbnnc.frontend.objects.laplace import is_laplace, laplace_posterior
from qbnnc.frontend.objects.posterior import Posterior
from qbnnc.frontend.objects.posteriors import is_pair, is_state, state_alone, states_posteriors
from qbnnc.frontend.objects.pyro import guide_posterior, is_guide, is_model_and_guide
from qbnnc.frontend.objects.swag import is_swag, swag_posterior
from qbnnc.frontend.objects.wrappers import check_wrapper
from qbnnc.support.errors import CompileError

Member: TypeAlias = "nn.Module | Posterior"

_KINDS: tuple[tuple[Callable[[object], bool], Callable[[object], Posterior]], ...] = (
    (is_laplace, laplace_posterior),
    (is_swag, swag_posterior),
    (is_guide, guide_posterior),
    (is_model_and_guide, guide_posterior),
    (is_state, state_alone),
)


def is_object(source: object) -> bool:
    """Whether a source is an object of a library that is read here, and no plain module."""
    return any(is_kind(source) for is_kind, _ in _KINDS) or is_pair(source)


def members_of(source: object) -> list[Member] | None:
    """The members: a module, an object of a library, or those of a list, nested or not.

    None if the source is anything else. CompileError: an object that cannot be read; the remedy
    names what it holds that can.
    """
    if is_pair(source):
        return list(states_posteriors(source))
    for is_kind, read in _KINDS:
        if is_kind(source):
            return [read(source)]
    if isinstance(source, list | tuple):
        return _members_in(source)
    check_wrapper(source)
    return [source] if isinstance(source, nn.Module) else None


def _members_in(sources: list[object] | tuple[object, ...]) -> list[Member] | None:
    members = list[Member]()
    for number, each in enumerate(sources):
        try:
            found = members_of(each)
        except CompileError as error:
            raise error.within(f"member {number}") from error
        if found is None:
            return None
        members += found
    return members or None
