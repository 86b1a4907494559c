"""--member-axis, and the axis that a saved program keeps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import qbnnc
from qbnnc.ir import format
from qbnnc.support.errors import UserError
from tests.commands import Runner
from tests.frontend.inside import FEATURES, MEMBERS, Several


def rows() -> torch.Tensor:
    return torch.randn(120, FEATURES, generator=torch.Generator().manual_seed(0))


def test_a_program_and_the_flag(qbnnc_command: Runner) -> None:
    net = Several(1).eval()
    qbnnc.save(net, "data.pt2", rows()[:4], calibration=rows())
    qbnnc.save(net, "members.pt2", rows()[:4], calibration=rows(), member_axis=1)
    made = qbnnc_command("compile", "data.pt2", "-o", "data.qbnn", "-q")
    assert made.code == 0, made.err
    assert len(format.load("data.qbnn").members) == 1
    made = qbnnc_command("compile", "data.pt2", "--member-axis", "1", "-o", "a.qbnn", "-q")
    assert made.code == 0, made.err
    made = qbnnc_command("compile", "members.pt2", "-o", "b.qbnn", "-q")
    assert made.code == 0, made.err
    a, b = format.load("a.qbnn"), format.load("b.qbnn")
    assert len(a.members) == MEMBERS
    assert a.method == f"ensemble of {MEMBERS}"
    for mine, theirs in zip(a.members, b.members, strict=True):
        pairs = zip(mine.constants.values(), theirs.constants.values(), strict=True)
        assert all(np.array_equal(x, y) for x, y in pairs)


def test_an_axis_that_is_not_there(qbnnc_command: Runner) -> None:
    qbnnc.save(Several(1).eval(), "net.pt2", rows()[:4], calibration=rows())
    made = qbnnc_command("compile", "net.pt2", "--member-axis", "4", "-o", "a.qbnn")
    assert made.code == 2
    assert "--member-axis 4: no output has an axis 4 beside the batch" in made.err


def test_a_compiled_network_has_its_members(qbnnc_command: Runner) -> None:
    qbnnc.compile(Several(0).eval(), "a.qbnn", calibration=rows().numpy())
    assert len(format.load("a.qbnn").members) == MEMBERS
    with pytest.raises(UserError, match=r"a \.qbnn is a network already"):
        qbnnc.compile("a.qbnn", "b.qbnn", member_axis=0)
