"""Weights and biases of layers: fixed, or sampled as mu + sigma * eps (Bayes by Backprop).

`Weight` is the form that the rules use. `WeightEmitter` emits it as a value of the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor, fx

from qbnnc.frontend.program.locations import Place
from qbnnc.ir.graph import Builder, Value
from qbnnc.ir.ops import Mask, Normal, SampledWeight
from qbnnc.ir.types import Array


@dataclass(frozen=True, slots=True, eq=False)
class Sampling:
    """Independent noise of a weight: element i is sigma[i] * eps[index[i]], eps ~ N(0, 1).

    `sources` draw eps, and their numbers follow each other. `sigma` (any sign) and `index` (i64,
    the noise counted in row-major order) have the weight's shape.
    """

    sources: tuple[fx.Node, ...]
    sigma: Tensor
    index: Tensor

    def moved(self, move: Callable[[Tensor], Tensor]) -> Sampling:
        return Sampling(self.sources, move(self.sigma), move(self.index))

    def of(self, sources: tuple[fx.Node, ...]) -> Sampling:
        """The noise of some sources alone, counted through these."""
        index, sigma = torch.zeros_like(self.index), torch.zeros_like(self.sigma)
        for source in sources:
            start, own = _start(self.sources, source), _start(sources, source)
            here = (self.index >= start) & (self.index < start + size_of(source))
            index = torch.where(here, self.index - start + own, index)
            sigma = torch.where(here, self.sigma, sigma)
        return Sampling(sources, sigma, index)


@dataclass(frozen=True, slots=True, eq=False)
class Correlated:
    """Noise of which elements of a weight take several: `part` is linear in the noise of `source`.

    `part` maps noise of the source's shape (f64) to a tensor of the weight's shape (f64).
    """

    source: fx.Node
    part: Callable[[Tensor], Tensor]

    def moved(self, move: Callable[[Tensor], Tensor]) -> Correlated:
        part = self.part
        return Correlated(self.source, lambda eps: move(part(eps)))


@dataclass(frozen=True, slots=True, eq=False)
class Choosing:
    """Constants [count, *shape] of which the number that `source` draws chooses one."""

    source: fx.Node
    members: Tensor

    def moved(self, move: Callable[[Tensor], Tensor]) -> Choosing:
        return Choosing(self.source, torch.stack([move(member) for member in self.members]))


@dataclass(frozen=True, slots=True, eq=False)
class WeightMask:
    """A mask that takes elements of a weight to 0 with probability p.

    Element i is kept or dropped by the number of `source` that `index` (i64, -1 for any: the
    element is 0 already) counts in row-major order; there are `size`. `low` keeps low numbers.
    """

    source: fx.Node
    p: float
    low: bool
    index: Tensor
    size: int

    def moved(self, move: Callable[[Tensor], Tensor]) -> WeightMask:
        return replace(self, index=move(self.index))


@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """A tensor of parameters: `mu` alone, or the mean of a random tensor.

    `sampling` is noise of which each element takes one, or none. The noise `more` is added to it.
    A `choice` has no noise; `mu` is the mean of its members. The `mask` drops elements of all this.
    """

    mu: Tensor
    sampling: Sampling | None = None
    more: tuple[Sampling | Correlated, ...] = field(default=())
    choice: Choosing | None = None
    mask: WeightMask | None = None

    @staticmethod
    def chosen(source: fx.Node, members: Tensor) -> Weight:
        """One of several constants [count, *shape]."""
        return Weight(members.double().mean(0), choice=Choosing(source, members))

    @property
    def shape(self) -> torch.Size:
        return self.mu.shape

    @property
    def is_random(self) -> bool:
        fixed = self.sampling is None and self.choice is None and self.mask is None
        return not fixed or bool(self.more)

    @property
    def sources(self) -> tuple[fx.Node, ...]:
        """The nodes that draw its noise."""
        parts = (() if self.sampling is None else (self.sampling,)) + self.more
        return tuple(dict.fromkeys(source for part in parts for source in _sources_of(part)))

    def moved(self, move: Callable[[Tensor], Tensor]) -> Weight:
        """The weight with its elements moved; `move` transposes, flips or reshapes."""
        sampling = None if self.sampling is None else self.sampling.moved(move)
        choice = None if self.choice is None else self.choice.moved(move)
        more = tuple(each.moved(move) for each in self.more)
        mask = None if self.mask is None else self.mask.moved(move)
        return Weight(move(self.mu), sampling, more, choice, mask)

    def scaled(self, factor: float) -> Weight:
        if factor == 1:
            return self
        more = tuple(_scaled(each, factor) for each in self.more)
        sampling = None if self.sampling is None else _scaled(self.sampling, factor)
        assert not isinstance(sampling, Correlated)
        choice = None if self.choice is None else self.choice.moved(lambda w: w * factor)
        return Weight(self.mu * factor, sampling, more, choice, self.mask)

    def shifted(self, shift: Tensor) -> Weight:
        """The weight plus a constant; it has no mask, which would drop that too."""
        choice = None if self.choice is None else self.choice.moved(lambda w: w + shift)
        return replace(self, mu=self.mu + shift, choice=choice)

    def beside(self, columns: Tensor) -> Weight:
        """A weight [N, K] with constant columns [N, C] behind it; it has one noise at most."""
        mu = torch.cat([self.mu.double(), columns.double()], 1)
        if self.sampling is None:
            return Weight(mu)
        none = torch.zeros_like(columns)
        sigma = torch.cat([self.sampling.sigma.double(), none.double()], 1)
        index = torch.cat([self.sampling.index, none.to(torch.int64)], 1)
        return Weight(mu, Sampling(self.sampling.sources, sigma, index))


def _scaled(part: Sampling | Correlated, factor: float) -> Sampling | Correlated:
    if isinstance(part, Sampling):
        return replace(part, sigma=part.sigma * factor)
    return part.moved(lambda value: value * factor)


def _sources_of(part: Sampling | Correlated) -> Iterable[fx.Node]:
    return part.sources if isinstance(part, Sampling) else (part.source,)


def size_of(source: fx.Node) -> int:
    """The number of elements that a node of a known shape draws."""
    return int(source.meta["val"].numel())


def _start(sources: tuple[fx.Node, ...], source: fx.Node) -> int:
    """The place of a source's first number among those of all sources."""
    return sum(size_of(each) for each in sources[: sources.index(source)])


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """One Normal, which draws the numbers of `sources` one behind the other."""

    sources: tuple[fx.Node, ...]
    value: Value


class WeightEmitter:
    """Emits weights as constants, or with one Normal for each noise tensor.

    Noise tensors that are first used in one weight have one Normal together. `stream` gives the
    number of the stream for nodes that draw, `choose` emits a choice, and `keep` a mask. A layer
    that is called again reads the constants of its first call.
    """

    def __init__(
        self,
        build: Builder,
        stream: Callable[[tuple[fx.Node, ...]], int],
        choose: Callable[[Choosing, str, Place], Value],
        keep: Callable[[WeightMask, str, Place], Value],
    ) -> None:
        self._build = build
        self._stream = stream
        self._choose = choose
        self._keep = keep
        self._drawn: dict[fx.Node, _Drawn] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Value] = {}
        self._samples: dict[tuple[Value, ...], Value] = {}

    def constant(self, name: str, tensor: Tensor) -> Value:
        """The tensor as a float32 constant of the graph; one with that name and numbers if any."""
        array = tensor.detach().to("cpu", torch.float32).contiguous().numpy()
        return self._known(name, np.array(array, np.float32))

    def parameters(self, place: Place, weight: Weight, bias: Weight | None) -> tuple[Value, Value]:
        """The weight and the bias [N] of a layer; zeros if it has no bias.

        Both have at most one `sampling`, of a part that `divided` gives, and no more noise.
        """
        bias = Weight(torch.zeros(weight.shape[0])) if bias is None else bias
        return self._value(place, "weight", weight), self._value(place, "bias", bias)

    def bias(self, place: Place, bias: Weight) -> Value:
        """The bias [N] of a layer, with one noise at most."""
        return self._value(place, "bias", bias)

    def divided(self, sampling: Sampling) -> Iterator[Sampling]:
        """Yield the noise by the Normal that draws it; all that is not drawn yet is one part."""
        known = [self._drawn.get(source) for source in sampling.sources]
        for drawn in dict.fromkeys(known):
            pairs = zip(sampling.sources, known, strict=True)
            yield sampling.of(tuple(source for source, own in pairs if own is drawn))

    def _known(self, name: str, array: Array) -> Value:
        key = name, array.shape, sha256(array.tobytes()).digest()
        if key not in self._constants:
            self._constants[key] = self._build.constant(name, array)
        return self._constants[key]

    def _value(self, place: Place, what: str, weight: Weight) -> Value:
        name, sampling = f"{place.name}.{what}", weight.sampling
        if weight.mask is not None:
            whole = self._value(place, f"{what}.whole", replace(weight, mask=None))
            keep = self._keep(weight.mask, name, place)
            return self._build.emit(Mask(1.0), whole, keep, loc=place.loc, name=name)
        if weight.choice is not None:
            return self._choose(weight.choice, name, place)
        if sampling is None:
            return self.constant(name, weight.mu)
        drawn = self._normal(sampling.sources, name, place)
        inputs = [
            self.constant(f"{name}.mu", weight.mu),
            self.constant(f"{name}.sigma", sampling.sigma),
            drawn.value,
        ]
        index = self._index(sampling, drawn)
        if not _row_major(index, sampling.sigma, drawn.value.type.size):
            numbers = index.contiguous().numpy().astype(np.int32)
            inputs.append(self._known(f"{name}.index", numbers))
        key = tuple(inputs)
        if key not in self._samples:
            sample = self._build.emit(SampledWeight(), *inputs, loc=place.loc, name=name)
            self._samples[key] = sample
        return self._samples[key]

    def _index(self, sampling: Sampling, drawn: _Drawn) -> Tensor:
        """The number in the Normal of each element's noise."""
        index = torch.zeros_like(sampling.index)
        for source in sampling.sources:
            start, moved = _start(sampling.sources, source), _start(drawn.sources, source)
            here = (sampling.index >= start) & (sampling.index < start + size_of(source))
            index = torch.where(here, sampling.index - start + moved, index)
        return index

    def _normal(self, sources: tuple[fx.Node, ...], name: str, place: Place) -> _Drawn:
        if sources[0] not in self._drawn:
            joined = sum(size_of(source) for source in sources)
            shape = tuple(sources[0].meta["val"].shape) if len(sources) == 1 else (joined,)
            op = Normal(shape, self._stream(sources))
            value = self._build.emit(op, loc=place.loc, name=f"{name}.eps")
            self._drawn |= dict.fromkeys(sources, _Drawn(sources, value))
        return self._drawn[sources[0]]


def _row_major(index: Tensor, sigma: Tensor, count: int) -> bool:
    """Whether each element i with a sigma takes noise i, of `count` in all."""
    if count != index.numel():
        return False
    own = torch.arange(count).reshape(index.shape)
    return bool(((index == own) | (sigma == 0)).all())
