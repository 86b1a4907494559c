"""`inspect` tells about members that share a backbone, and about the distribution check."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qbnnc.api import compile
from qbnnc.inspection import inspect
from qbnnc.ir import format
from qbnnc.ir.oracle import oracle_samples
from qbnnc.loading.artefacts import open_artefact
from tests.commands import Runner
from tests.examples import slow_but
from tests.sharing import with_common_trunk


def test_shared_work_and_bytes_are_counted_once() -> None:
    model = with_common_trunk(3, None)
    one, three = (inspect(replace(model, members=model.members[:n]), 1) for n in (1, 3))
    conv1, conv2 = 6 * 10 * 10 * 9, 8 * 3 * 3 * 6 * 9
    assert (one.shared_macs, one.shared_bytes) == (0, 0)
    assert three.shared_macs == conv1 + conv2
    weights, biases = 6 * 9 + 8 * 6 * 9, 6 + 8
    heads = 12 * 8 + 5 * 12 + 12 + 5
    assert one.float_bytes == 4 * (weights + biases + heads)
    assert three.float_bytes == 4 * (weights + biases + 3 * heads)
    assert three.shared_bytes >= 2 * (weights + 4 * biases)
    assert three.constant_bytes < 3 * one.constant_bytes - 2 * (weights + 4 * biases)


def test_inspect_shows_what_is_shared_and_checked(qbnnc_command: Runner, tmp_path: Path) -> None:
    model, path = with_common_trunk(2, 0.2), tmp_path / "a.qbnn"
    checked = replace(model.provenance, distribution="equal in 8 coupled calls")
    format.save(replace(model, provenance=checked), path)
    seen = qbnnc_command("inspect", path).words
    assert "2 members: 9288 of them are done once for all" in seen
    assert "distribution: equal in 8 coupled calls" in seen
    format.save(replace(model, members=model.members[:1]), path)
    alone = qbnnc_command("inspect", path).words
    assert "done once for all" not in alone
    assert "distribution:" not in alone


class Branch(nn.Module):
    """A convolutional trunk with batch norm, and a head of one member with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
        )
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(32, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3)
        )

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.trunk(x))
        return found


@pytest.mark.parametrize("bits", slow_but(["w3a4"], ["w8a7", "w3a4"]))
def test_state_dicts_with_a_common_backbone(bits: str, tmp_path: Path) -> None:
    """Fitted weights, corrected biases and scales of the backbone come out alike."""
    torch.manual_seed(0)
    trunk = Branch().trunk
    for _ in range(4):
        trunk(torch.randn(32, 2, 8, 8))
    members = [Branch() for _ in range(4)]
    for member in members:
        member.trunk = trunk
    torch.save([member.state_dict() for member in members], tmp_path / "members.pt")
    rows = np.random.default_rng(0).normal(size=(120, 2, 8, 8)).astype(np.float32)
    outputs = [tmp_path / "m.qbnn", tmp_path / "m.onnx"]
    model = compile(
        tmp_path / "members.pt",
        outputs,
        calibration=rows,
        calibration_passes=2,
        bits=bits,
        samples=3,
        model="tests.qbnnc.test_sharing:Branch",
        dropout="active",
        distribution_check="default" if bits == "w8a7" else None,  # it does not depend on the bits
    )
    report = inspect(model, outputs[0].stat().st_size)
    convolutions = 8 * 8 * 6 * 18 + 2 * 2 * 8 * 54
    assert report.shared_macs == convolutions
    made = [open_artefact(path).predict(rows[:7], seed=2)["samples"] for path in outputs]
    want = oracle_samples(format.load(outputs[0]), rows[:7], samples=12, seed=2)[0]
    assert all((samples == want).all() for samples in made)
