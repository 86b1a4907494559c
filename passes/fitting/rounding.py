"""Round weights so that a layer's outputs are close: least squares, then GPTQ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.products import float32_product, product
from qbnnc.ir.types import Array, QuantParams
from qbnnc.passes.fitting.factorization import cholesky, inverse_of_lower

Float64 = NDArray[np.float64]

# Parts of the mean diagonal of H: the cost of a direction that no input has. Errors of few bits are
# large, and would be hidden in directions that the calibration rows have by chance.
_DAMPINGS = 0.01, 0.1, 1.0
_DAMPINGS_OF_FEW = 0.1, 1.0
FEW_BITS = 3
_BLOCK = 128
_SLICES = 2  # of the products that decide how weights are rounded


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Centred sums over M observations of a layer's inputs x [K] and its wanted outputs y [N].

    `hessian` [K, K] is sum (x - mean)(x - mean)^T, `cross` [K, N] is sum (x - mean)(y - mean)^T:
    the bias takes care of the means.
    """

    hessian: Float64
    cross: Float64


class MomentSum:
    """A running sum of observations, from which Moments are made.

    The first observation is subtracted, so that an input that never varies adds exactly 0.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        self._inputs = inputs
        self._count = 0
        self._origin: Array | None = None
        self._sum = np.zeros(inputs + outputs)
        self._products = np.zeros((inputs, inputs + outputs))

    def add(self, x: Array, y: Array) -> None:
        """x [M, K], y [M, N]."""
        both = np.concatenate([x, y], axis=1).astype(np.float32)
        if self._origin is None:
            self._origin = both[:1].copy()
        both -= self._origin
        self._count += len(both)
        self._sum += both.sum(axis=0, dtype=np.float64)
        self._products += float32_product(both[:, : self._inputs].T, both)

    def moments(self) -> Moments:
        total = self._sum[: self._inputs, None]
        centred = self._products - total * self._sum / max(self._count, 1)
        return Moments(centred[:, : self._inputs], centred[:, self._inputs :])


class NotFitted(Exception):
    """The observations do not say how to fit a weight, which is then rounded to nearest."""


def fitted_weight(
    weight: Array, quants: Sequence[QuantParams], moments: Moments
) -> tuple[Array, QuantParams]:
    """A weight [N, ...], f32, that gives nearly the wanted outputs, and the codes that it has.

    1. Least squares: W' = W + (cross^T - W H)(H + d I)^-1 makes up for what quantised inputs lost.
       The damping d is 1 % of the mean diagonal of H, so that W' stays near W; 10 % for codes of
       3 bits or less.
    2. GPTQ (Frantar et al. 2023): columns are rounded in the order of falling H_kk. Those that are
       not rounded yet make up for the error of each.
    3. `quants` differ in their scales. Each channel (or the tensor) has the one whose result Q has
       the least (W' - Q)(H + d I)(W' - Q)^T.

    H is a sum of squares, apart from rounding errors. It is made symmetric, and damped by up to
    100 % until it is positive definite. A layer whose inputs never vary is rounded to
    nearest, which is as good. NotFitted if moments are infinite or NaN, or no damping helps.
    """
    rows, first = weight.reshape(len(weight), -1).astype(np.float64), quants[0]
    given = (moments.hessian + moments.hessian.T) / 2
    if not (np.isfinite(given).all() and np.isfinite(moments.cross).all()):
        raise NotFitted("its inputs or outputs are infinite, or too large to be squared")
    mean = np.trace(given) / len(given)
    if mean <= 0:
        return weight, first
    for damping in _DAMPINGS_OF_FEW if first.bits <= FEW_BITS else _DAMPINGS:
        hessian = given + damping * mean * np.eye(len(given))
        try:
            inverse = Inverse.of(hessian)
        except np.linalg.LinAlgError:
            continue
        lost = moments.cross - product(given, rows.T, _SLICES)
        best = _Best(rows + inverse.times(lost).T, quants, hessian, inverse)
        if np.isfinite(best.rounded).all():
            return best.rounded.reshape(weight.shape).astype(np.float32), best.quant
    raise NotFitted("the moments of its inputs are not positive definite")


class _Best:
    """The rows of a weight, each with the scale among those of `quants` that suits it best."""

    def __init__(
        self, wanted: Float64, quants: Sequence[QuantParams], hessian: Float64, inverse: Inverse
    ) -> None:
        tried = [sequential_rounding(wanted, quant, inverse) for quant in quants]
        if len(tried) == 1:
            self.rounded, self.quant = tried[0], quants[0]
            return
        costs = np.stack([_row_costs(wanted - rounded, hessian) for rounded in tried])
        per_row = quants[0].axis is not None
        chosen = (costs if per_row else costs.sum(axis=1, keepdims=True)).argmin(axis=0)
        scales = np.array([quant.scale for quant in quants])[chosen, np.arange(len(chosen))]
        each = np.broadcast_to(chosen, len(wanted))
        self.rounded = np.stack(tried)[each, np.arange(len(wanted))]
        self.quant = replace(quants[0], scale=tuple(scales.tolist()))


def _row_costs(error: Float64, hessian: Float64) -> Float64:
    costs: Float64 = (product(error, hessian, _SLICES) * error).sum(axis=1)
    return costs


@dataclass(frozen=True, slots=True, eq=False)
class Inverse:
    """The inverse of H [K, K] as U^T U, whose rows and columns are in `order`.

    U [K, K] is an upper triangle. The order is that of falling H_kk.
    """

    order: NDArray[np.intp]
    upper: Float64

    @classmethod
    def of(cls, matrix: Float64) -> Inverse:
        """Invert a symmetric matrix; LinAlgError if it is not positive definite.

        With L L^T the matrix whose rows and columns are in reverse order, U is the reverse of L^-1.
        """
        order = np.argsort(-np.diag(matrix), kind="stable")
        turned = matrix[np.ix_(order[::-1], order[::-1])]
        return cls(order, inverse_of_lower(cholesky(turned))[::-1, ::-1])

    def times(self, right: Float64) -> Float64:
        """Return H^-1 times `right` [K, N]."""
        made = np.empty_like(right)
        inner = product(self.upper, right[self.order], _SLICES)
        made[self.order] = product(self.upper.T, inner, _SLICES)
        return made


def sequential_rounding(weight: Float64, quant: QuantParams, inverse: Inverse) -> Float64:
    """GPTQ: W [N, K] on the grid of `quant`, minimising (W - Q) H (W - Q)^T greedily.

    Columns are rounded in the order of `inverse`, that of H. Column k becomes q_k, and the columns
    j > k get W_j -= (W_k - q_k)/U_kk*U_kj, block by block.
    """
    order, upper = inverse.order, inverse.upper
    left, rounded = weight[:, order], np.empty_like(weight)
    scale = np.asarray(quant.scale, np.float64)
    zero = np.asarray(quant.zero_point, np.float64)
    for start in range(0, len(order), _BLOCK):
        stop = min(start + _BLOCK, len(order))
        errors = np.empty((len(weight), stop - start))
        for k in range(start, stop):
            codes = np.clip(np.rint(left[:, k] / scale), quant.low - zero, quant.high - zero)
            rounded[:, order[k]] = codes * scale
            error = (left[:, k] - codes * scale) / upper[k, k]
            left[:, k:stop] -= np.outer(error, upper[k, k:stop])
            errors[:, k - start] = error
        left[:, stop:] -= product(errors, upper[start:stop, stop:], _SLICES)
    return rounded
