"""The data that networks of the zoo learn: real and small, split into training and test rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent / "data"
ALPHABET = " 'abcdefghijklmnopqrstuvwxyzßàáâãäåæçèéêëíñòóôõöøùúûü"
UNKNOWN = len(ALPHABET)  # the number of all other characters
CHARACTERS, HISTORY, HORIZON = 40, 48, 12  # a row of text; months that are seen, and foretold
_TRAIN_DIGITS, _TRAIN_SCENES, _TEST_SCENES = 1400, 600, 120
_TRAIN_ARTICLES, _TRAIN_MONTHS = 22, 2400
_POINTS = 32


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """Rows x [N, *shape] float32, or ids int64. y are classes int64, or targets float32."""

    x_train: Floats | NDArray[np.int64]
    y_train: Floats | NDArray[np.int64]
    x_test: Floats | NDArray[np.int64]
    y_test: Floats | NDArray[np.int64]


def _floats(x: NDArray[np.generic]) -> Floats:
    return np.ascontiguousarray(x, np.float32)


@cache
def digits(side: int = 16) -> Data:
    """Handwritten digits [1, side, side], 0 to 1, and what they are; pixels are repeated."""
    with np.load(ROOT / "tools/bench/data/digits.npz") as archive:
        x, y = archive["x"].astype(np.float32) / 16, archive["y"].astype(np.int64)
    times = side // x.shape[-1]
    x = np.kron(x, np.ones((1, 1, times, times), np.float32))
    n = _TRAIN_DIGITS
    return Data(x[:n], y[:n], x[n:], y[n:])


@cache
def reconstruction() -> Data:
    """Handwritten digits [64], which are their own targets."""
    data = digits(8)
    train, test = data.x_train.reshape(-1, 64), data.x_test.reshape(-1, 64)
    return Data(train, train, test, test)


@cache
def points() -> Data:
    """Digits as clouds [3, 32] of the darkest pixels: their places, -1 to 1, and darkness."""
    data = digits(8)
    return Data(
        _cloud(_floats(data.x_train)), data.y_train, _cloud(_floats(data.x_test)), data.y_test
    )


def _cloud(images: Floats) -> Floats:
    flat = images.reshape(len(images), 64)
    chosen = np.argsort(-flat, axis=1, kind="stable")[:, :_POINTS]
    rows, columns = np.divmod(chosen, 8)
    dark = np.take_along_axis(flat, chosen, 1)
    return np.stack([rows / 3.5 - 1, columns / 3.5 - 1, dark], axis=1).astype(np.float32)


@cache
def scenes() -> Data:
    """Four digits [1, 16, 16], and a class a pixel: paper, ink of 0 to 4, ink of 5 to 9."""
    data = digits(8)
    return Data(
        *_scenes(_floats(data.x_train), data.y_train, _TRAIN_SCENES, seed=0),
        *_scenes(_floats(data.x_test), data.y_test, _TEST_SCENES, seed=1),
    )


def _scenes(
    x: Floats, y: NDArray[np.int64] | Floats, count: int, seed: int
) -> tuple[Floats, NDArray[np.int64]]:
    chosen = np.random.default_rng(seed).integers(len(x), size=(count, 2, 2))
    tiles = x[chosen][:, :, :, 0].transpose(0, 1, 3, 2, 4).reshape(count, 1, 16, 16)
    kinds = np.kron(np.where(y[chosen] < 5, 1, 2), np.ones((1, 8, 8), np.int64))
    return tiles, np.where(tiles[:, 0] > 0.25, kinds, 0)


@cache
def distances() -> Data:
    """The scenes, and the distance of each pixel [1, 16, 16] from ink, in pixels / 4."""
    data = scenes()
    train, test = _floats(data.x_train), _floats(data.x_test)
    return Data(train, _distance(train), test, _distance(test))


def _distance(images: Floats) -> Floats:
    """The distance by chess moves: as many steps as ink has to grow to reach a pixel."""
    reached = images > 0.25
    found = np.zeros(images.shape, np.int64)
    for _ in range(images.shape[-1]):
        found += ~reached
        around = np.pad(reached, ((0, 0), (0, 0), (1, 1), (1, 1)))
        moves = [around[:, :, i : i + 16, j : j + 16] for i in range(3) for j in range(3)]
        reached = np.logical_or.reduce(moves)
    return (found / 4).astype(np.float32)


@cache
def vowels() -> Data:
    """Utterances [12, 29] of Japanese vowels, and which of nine men speaks."""
    with np.load(HERE / "vowels.npz") as archive:
        x, y = (archive[f"{name}_train"] for name in "xy")
        u, v = (archive[f"{name}_test"] for name in "xy")
    return Data(x.astype(np.float32), y.astype(np.int64), u.astype(np.float32), v.astype(np.int64))


@cache
def vowels_by_step() -> Data:
    """The same utterances [29, 12], steps first."""
    data = vowels()
    x, u = (_floats(part.swapaxes(1, 2)) for part in (data.x_train, data.x_test))
    return Data(x, data.y_train, u, data.y_test)


@cache
def sunspots(horizon: int = HORIZON) -> Data:
    """Four years of monthly sunspot numbers [48], and the months [horizon] after them.

    The numbers are (root(n) - 6) / 3.5, so that their noise is much the same at all levels.
    """
    with np.load(HERE / "sunspots.npz") as archive:
        series = (np.sqrt(archive["monthly"]) - 6) / np.float32(3.5)
    parts = series[:_TRAIN_MONTHS], series[_TRAIN_MONTHS - HISTORY :]
    (x, y), (u, v) = (_windows(part.astype(np.float32), horizon) for part in parts)
    return Data(x, y, u, v)


def _windows(series: Floats, horizon: int) -> tuple[Floats, Floats]:
    """The windows that begin every second month."""
    whole = np.lib.stride_tricks.sliding_window_view(series, HISTORY + horizon)[::2]
    return whole[:, :HISTORY].copy(), whole[:, HISTORY:].copy()


@cache
def languages() -> Data:
    """Forty characters in a row [40], as numbers, of the Declaration in eight languages."""
    lines = (HERE / "declaration.tsv").read_text(encoding="utf-8").splitlines()
    articles = [line.split("\t") for line in lines]
    names = sorted({language for language, _, _ in articles})
    parts: tuple[list[list[int]], list[list[int]]] = ([], [])
    classes: tuple[list[int], list[int]] = ([], [])
    for name in names:
        for held_out in (False, True):
            chosen = (
                t for n, i, t in articles if n == name and (int(i) > _TRAIN_ARTICLES) == held_out
            )
            rows = _rows(" ".join(chosen), step=CHARACTERS if held_out else CHARACTERS // 2)
            parts[held_out].extend(rows)
            classes[held_out].extend([names.index(name)] * len(rows))
    x, u = (np.array(part, np.int64) for part in parts)
    y, v = (np.array(part, np.int64) for part in classes)
    return Data(x, y, u, v)


def _rows(text: str, step: int) -> list[list[int]]:
    """The numbers of forty characters from every `step`-th on."""
    known = {letter: number for number, letter in enumerate(ALPHABET)}
    numbers = [known.get(letter, UNKNOWN) for letter in text.lower()]
    return [numbers[i : i + CHARACTERS] for i in range(0, len(numbers) - CHARACTERS + 1, step)]


@cache
def diabetes() -> Data:
    """Ten measurements of a patient [10], and the disease a year later [1]; standardised."""
    with np.load(ROOT / "tests/data/diabetes.npz") as archive:
        return Data(*(archive[f"{name}_{part}"] for part in ("train", "test") for name in "xy"))


@cache
def standardised_digits() -> Data:
    """Digits as a table [64] with mean 0 and deviation 1, and what they are."""
    data = digits(8)
    train, test = data.x_train.reshape(-1, 64), data.x_test.reshape(-1, 64)
    mean, deviation = train.mean(0), train.std(0) + 0.1
    return Data((train - mean) / deviation, data.y_train, (test - mean) / deviation, data.y_test)


DataSet = Callable[[], Data]
