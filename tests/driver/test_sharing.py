"""What `inspect` says of members that share a backbone, and of the check of the distribution."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from qbnnc.inspection import inspect
from qbnnc.ir import format
from tests.driver.commands import Runner
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
