"""Each layer of the libraries compiles with its distribution, or is not supported by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from warnings import catch_warnings, simplefilter

import pytest

from qbnnc.frontend import read_modules
from qbnnc.frontend.distribution import Subject, check_distribution
from qbnnc.ir.check import check, random_nodes
from qbnnc.support.errors import CompileError
from tests.examples import nightly_but, slow_but
from tests.frontend.libraries.layers import COMPILES, LONG, UNSUPPORTED

_QUICK = ["bayesian-torch Flipout", "torchbnn linear", "blitz linear", "baal dropout"]

_QUICKLY_UNSUPPORTED = [
    "torch-uncertainty mc_dropout",
    "torch-uncertainty packed_mlp",
]


@contextmanager
def quiet() -> Iterator[None]:
    """Libraries warn of what concerns their own code."""
    with catch_warnings():
        simplefilter("ignore")
        yield


@pytest.mark.sample(13)
@pytest.mark.few(1)
@pytest.mark.parametrize(
    "name",
    [*slow_but(_QUICK, [n for n in COMPILES if n not in LONG]), *nightly_but([], LONG)],
)
def test_distribution(name: str) -> None:
    case = COMPILES[name]
    with quiet():
        (member,) = read_modules([case.module()], case.rows(2), dropout=case.dropout).members
        check(member.graph)
        assert list(random_nodes(member.graph))
        subject = Subject(member.reference, member.graph, member.graph)
        report = check_distribution([subject], case.rows(8).numpy())
    assert report.power is not None
    shared = "Flipout" in name and not name.endswith("d")  # signs of pixels are drawn
    assert report.skipped == (("correlation between rows",) if shared else ())


@pytest.mark.parametrize("name", slow_but(_QUICKLY_UNSUPPORTED, UNSUPPORTED))
def test_not_supported(name: str) -> None:
    case = UNSUPPORTED[name]
    with quiet(), pytest.raises(CompileError, match=case.fails):
        read_modules([case.module()], case.rows(2), dropout=case.dropout)
