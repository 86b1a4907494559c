"""Old public names work, and warn."""

from __future__ import annotations

import importlib

import pytest

import qbnnc
from qbnnc.passes.mixed_precision.budget import Budget
from qbnnc.passes.mixed_precision.search import Choice
from qbnnc.passes.options import Bits, CompileOptions


@pytest.mark.parametrize(
    ("old", "name", "new"),
    [
        ("qbnnc.finetuning", "Training", "qbnnc.backends.torch.training"),
        ("qbnnc.finetuning", "finetune", "qbnnc.backends.torch.training"),
        ("qbnnc.sensitivity", "choose_bits", "qbnnc.study.sensitivity"),
        ("qbnnc.sensitivity", "sensitivity", "qbnnc.study.sensitivity"),
    ],
)
def test_a_module_that_moved_gives_its_names(old: str, name: str, new: str) -> None:
    module = importlib.import_module(old)
    with pytest.warns(DeprecationWarning, match=f"{old}.{name} is now {new}.{name}"):
        found = getattr(module, name)
    assert found is getattr(importlib.import_module(new), name)


@pytest.mark.parametrize("old", ["qbnnc.finetuning", "qbnnc.sensitivity"])
def test_a_module_that_moved_has_no_other_names(old: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{old}' has no attribute 'nothing'"):
        _ = importlib.import_module(old).nothing


def test_the_choice_of_bits_has_options() -> None:
    options = CompileOptions(bits="w4a7")
    choice = Choice(
        Budget("nll", 1.0, True), Bits(), {}, None, options, {}, {}, {}, 0.0, (), {}, ()
    )
    with pytest.warns(DeprecationWarning, match=r"choice\.making is now choice\.options"):
        assert choice.making == options


def test_the_settings_of_fine_tuning_are_public() -> None:
    from qbnnc.backends.torch.training import Training

    assert qbnnc.Training is Training
    with pytest.raises(AttributeError, match="module 'qbnnc' has no attribute 'Nothing'"):
        _ = qbnnc.Nothing
