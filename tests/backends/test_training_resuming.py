"""An interrupted fine-tuning goes on to the model that it would have made."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from qbnnc.backends.torch.training import (
    FineTuning,
    Progress,
    Training,
    finetune,
)
from qbnnc.ir import format
from qbnnc.support.errors import FileError
from tests.backends.training import LOW, QUICK, model_of, rows
from tests.examples import slow_but
from tests.graphs import mlp


class Stop:
    """Interrupts at the n-th report."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self, progress: Progress) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@cache
def uninterrupted(learn_ranges: bool) -> tuple[Training, str]:
    """The options of a fine-tuning, and the digest of what it makes when nothing stops it."""
    training = Training(steps=12, batch_size=16, learn_ranges=learn_ranges)
    whole = finetune(model_of(mlp(0), mlp(1)), rows(mlp()), None, LOW, training)
    return training, format.digest(whole)


@pytest.mark.parametrize("after", slow_but([8], [1, 3, 6, 8, 12]))
@pytest.mark.parametrize("learn_ranges", slow_but([True], [True, False]))
def test_an_interrupted_fine_tuning_goes_on_to_the_same_model(
    after: int, learn_ranges: bool, tmp_path: Path
) -> None:
    """In the start, a trial of a rate, or the run of one member or the other."""
    model, x, state = model_of(mlp(0), mlp(1)), rows(mlp()), tmp_path / "state"
    training, whole = uninterrupted(learn_ranges)
    begun = FineTuning(model, x, None, LOW, training)
    with pytest.raises(KeyboardInterrupt):
        begun.run(Stop(after), state)
    begun.best.check()  # there is a best at any time
    resumed = FineTuning(model, x, None, LOW, training)
    if state.exists():
        resumed.resume(state)
    resumed.run(None, state)
    assert format.digest(resumed.best) == whole
    assert not state.exists()


def test_a_state_of_something_else_is_refused(tmp_path: Path) -> None:
    model, x, state = model_of(mlp()), rows(mlp()), tmp_path / "model.state"
    begun = FineTuning(model, x, None, LOW, QUICK)
    with pytest.raises(KeyboardInterrupt):
        begun.run(Stop(3), state)
    other = FineTuning(model, x, None, LOW, replace(QUICK, lr=1e-3))
    with pytest.raises(FileError, match=r"model\.state: belongs to a fine-tuning of another"):
        other.resume(state)
    state.write_bytes(b"PK\x03\x04 nonsense")
    with pytest.raises(FileError, match=r"model\.state: no state of an interrupted"):
        other.resume(state)
