"""Correlated noise of a layer's parameters: of low rank, or a Kronecker product (matrix normal).

Weight and bias of a layer are one matrix W [N, M + 1], with the bias last. A linear map takes noise
to it. The map is evaluated at noise of our choice:

1. Noise before the first and after the last element that W depends on is left out. So a vector of
   all parameters may be sliced into layers.
2. W = A (S * E) B, with E [n, k] the noise as a matrix: row i of E alone gives a matrix of rank
   one, a_i times a row, and column j gives b_j. S follows from these. At random noise, the map must
   give A (S * E) B.
3. Else the slopes at each noise element are kept: W = sum_r z_r D_r. Row n of W has the noise
   elements that it depends on, with a deviation each, and slopes of length 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, fx

from qbnnc.support import limits

_TOLERANCE = 1e-7
_RANK_ONE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class LowRank:
    """sum_j sigma[n, j] * z[index[n, j]] * slopes[n, j], added to row n of W.

    `slopes` [N, r, M + 1] have the Euclidean length 1, or 0; `sigma` and `index` (i64) are [N, r].
    """

    source: fx.Node
    slopes: Tensor
    sigma: Tensor
    index: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Kronecker:
    """A (S * E) B, with E[i, j] = z[index[i, j]].

    `left` A [N, n] and `right` B [k, M + 1] have columns and rows of length 1. `sigma` S and
    `index` (i64) are [n, k].
    """

    source: fx.Node
    left: Tensor
    sigma: Tensor
    right: Tensor
    index: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class NoiseMap:
    """The linear map from `source`'s noise, as a vector, to W [N, M + 1]."""

    source: fx.Node
    at: Callable[[Tensor], Tensor]

    @property
    def noise(self) -> tuple[int, ...]:
        """The shape of the noise."""
        return tuple(int(extent) for extent in self.source.meta["val"].shape)


def recognised(noise: NoiseMap, *, products: bool) -> LowRank | Kronecker | None:
    """The form of the map, None if it is 0; a Kronecker product only with `products`.

    ValueError if it is no Kronecker product, and too large for slopes.
    """
    start, stop = _used(noise)
    if start == stop:
        return None
    rows, columns = noise.at(torch.zeros(prod(noise.noise), dtype=torch.float64)).shape
    matrices = _matrices(noise.noise, start, stop, rows, columns) if products else ()
    for matrix in matrices:
        if (found := _kronecker(noise, matrix)) is not None:
            return found
    return _low_rank(noise, start, stop)


def _used(noise: NoiseMap) -> tuple[int, int]:
    """The first noise element that W depends on, and the one after the last."""
    size = prod(noise.noise)
    eps = torch.randn(size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    places = torch.arange(size)

    def first(depends: Callable[[int], Tensor]) -> int:
        """The least count of elements of which W depends on one."""
        low, high = 0, size
        while low < high:
            middle = (low + high) // 2
            if bool(noise.at(torch.where(depends(middle), eps, 0.0)).any()):
                high = middle
            else:
                low = middle + 1
        return low

    if not bool(noise.at(eps).any()):
        return 0, 0
    return first(lambda n: places < n) - 1, size + 1 - first(lambda n: places >= size - n)


def _matrices(
    shape: tuple[int, ...], start: int, stop: int, rows: int, columns: int
) -> Iterator[Tensor]:
    """Yield the noise elements as matrices: as drawn, or as W is without or with the bias."""
    size, numbers = stop - start, torch.arange(start, stop)
    whole = (shape[0], size // shape[0]) if size == prod(shape) and len(shape) > 1 else (1, size)
    turned = whole[::-1]
    for extents in dict.fromkeys([whole, turned, (rows, columns - 1), (rows, columns)]):
        if min(extents) > 1 and prod(extents) == size:
            yield numbers.reshape(extents)
            yield numbers.reshape(extents[::-1]).T


def _kronecker(noise: NoiseMap, index: Tensor) -> Kronecker | None:
    """The factors, if the noise as the matrix `index` [n, k] has them."""
    factors = torch.rand(index.numel(), generator=torch.Generator().manual_seed(2))
    eps = (factors.double() + 0.5).reshape(index.shape)
    rows, columns = _factors(noise, index, eps), _factors(noise, index.T, eps.T)
    if rows is None or columns is None:
        return None
    left, right = rows[0], _of_length_one(columns[1])
    of_rows = _solved(right.T, rows[1].T).T / eps
    of_columns = _solved(left, columns[0] * columns[1].norm(dim=1)) / eps
    for sigma in (of_rows, of_columns):
        found = Kronecker(noise.source, left, sigma, right, index)
        if _agrees(noise, found):
            return found
    return None


def _factors(noise: NoiseMap, index: Tensor, eps: Tensor) -> tuple[Tensor, Tensor] | None:
    """a_i [N, n] and b_i [n, M + 1] with W = a_i b_i at noise in row i of `index` alone."""
    found = list[tuple[Tensor, Tensor]]()
    for places, values in zip(index, eps, strict=True):
        pair = _rank_one(noise, places, values)
        if pair is None:
            return None
        found.append(pair)
    return torch.stack([a for a, _ in found], 1), torch.stack([b for _, b in found])


def _of_length_one(rows: Tensor) -> Tensor:
    lengths = rows.norm(dim=1, keepdim=True)
    return rows / torch.where(lengths == 0, 1.0, lengths)


def _solved(matrix: Tensor, wanted: Tensor) -> Tensor:
    """The least squares solution of matrix @ x = wanted."""
    solution: Tensor = torch.linalg.lstsq(matrix, wanted, driver="gelsd").solution
    return solution


def _rank_one(noise: NoiseMap, places: Tensor, eps: Tensor) -> tuple[Tensor, Tensor] | None:
    """(a, b) with W = a b^T at noise in these places alone, a of length 1; None if W has none.

    The largest element of a is positive. If W is 0, so are both.
    """
    given = torch.zeros(prod(noise.noise), dtype=torch.float64)
    given[places] = eps
    made = noise.at(given)
    row, column = divmod(int(made.abs().argmax()), made.shape[1])
    largest = made[row, column]
    if not bool(largest):
        return made[:, 0], made[0]
    a, b = made[:, column] / largest, made[row]
    if bool(((made - torch.outer(a, b)).abs() > _RANK_ONE * largest.abs()).any()):
        return None
    return a / a.norm(), b * a.norm()


def _agrees(noise: NoiseMap, found: Kronecker) -> bool:
    """Whether the map is A (S * E) B at random noise."""
    random = torch.Generator().manual_seed(3)
    eps = torch.randn(prod(noise.noise), generator=random, dtype=torch.float64)
    scaled = found.sigma * eps[found.index]
    made = found.left @ scaled @ found.right
    apart = (noise.at(eps) - made).abs().max()
    return bool(apart <= _TOLERANCE * made.abs().max())


def _low_rank(noise: NoiseMap, start: int, stop: int) -> LowRank:
    """The slopes at each noise element; ValueError if they are too many."""
    limits.NOISE.check(stop - start)
    slopes = list[Tensor]()
    for place in range(start, stop):
        eps = torch.zeros(prod(noise.noise), dtype=torch.float64)
        eps[place] = 1.0
        slopes.append(noise.at(eps).to(torch.float32))
        limits.SLOPES.check(slopes[0].numel() * (stop - start))
    stacked = torch.stack(slopes, 1)
    lengths = torch.stack([each.double().norm(dim=1) for each in slopes], 1)
    most = int((lengths != 0).sum(1).max())
    order = (lengths == 0).to(torch.int64).argsort(dim=1, stable=True)[:, :most]
    kept = torch.take_along_dim(stacked, order[:, :, None], 1)
    sigma = lengths.gather(1, order)
    unit = kept / torch.where(sigma == 0, 1.0, sigma)[:, :, None].float()
    return LowRank(noise.source, unit, sigma, order + start)
