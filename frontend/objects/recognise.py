"""Any source in memory, as the members of an ensemble: modules, or objects of libraries."""

from __future__ import annotations

from torch import nn

from qbnnc.frontend.objects.laplace import is_laplace, laplace_posterior
from qbnnc.frontend.objects.posterior import Posterior
from qbnnc.support.errors import CompileError

Found = nn.Module | Posterior


def members_of(source: object) -> list[Found] | None:
    """The members; None if the source is neither a module, nor an object of a library, nor a list.

    CompileError: an object that cannot be read, by the name of what it holds.
    """
    if is_laplace(source):
        return [laplace_posterior(source)]
    if isinstance(source, nn.Module):
        return [source]
    return None
