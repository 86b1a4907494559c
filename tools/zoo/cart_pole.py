"""The dynamics of a cart that balances a pole: data that a simulation makes."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from tools.zoo.data_sets import Data

Float64 = NDArray[np.float64]

_GRAVITY, _CART, _POLE, _HALF_LENGTH = 9.8, 1.0, 0.1, 0.5  # m/s^2, kg, kg, m
_FORCE, _STEP, _STEPS = 10.0, 0.02, 5  # newtons of the greatest action; seconds; steps an action
_REACH = np.array([1.0, 1.0, 0.8, 2.0])  # m, m/s, rad, rad/s: how far states are from rest
_NOISE = 0.03  # of what sensors see, as a share of the reach
_ROWS, _TRAIN = 600, 200  # learnt from one trial, which has 200 steps in the paper


@cache
def cart_pole() -> Data:
    """A state and an action [5], and what 0.1 s of it change the state by [4]; standardised.

    A state is the cart's place and speed, and the pole's angle and speed. Sensors add Gaussian
    noise to all changes. The equations are 1 and 2 of Florian 2007, without friction.
    """
    rng = np.random.default_rng(0)
    states = rng.uniform(-1, 1, (_ROWS, 4)) * _REACH
    actions = rng.uniform(-1, 1, _ROWS)
    after = states
    for _ in range(_STEPS):
        after = after + _STEP * _slope(after, _FORCE * actions)
    seen = after - states + _NOISE * _REACH * rng.normal(size=states.shape)
    x, y = np.column_stack([states / _REACH, actions]), (seen - seen.mean(0)) / seen.std(0)
    rows = (part.astype(np.float32) for part in (x[:_TRAIN], y[:_TRAIN], x[_TRAIN:], y[_TRAIN:]))
    return Data(*rows)


def _slope(state: Float64, force: Float64) -> Float64:
    """How fast each number of the states [N, 4] changes under forces [N]."""
    speed, angle, turning = state.T[1:]
    mass, sine, cosine = _CART + _POLE, np.sin(angle), np.cos(angle)
    pushed = (force + _POLE * _HALF_LENGTH * turning**2 * sine) / mass
    lever = _HALF_LENGTH * (4 / 3 - _POLE * cosine**2 / mass)
    faster_turning = (_GRAVITY * sine - cosine * pushed) / lever
    faster = pushed - _POLE * _HALF_LENGTH * faster_turning * cosine / mass
    return np.column_stack([speed, faster, turning, faster_turning])
