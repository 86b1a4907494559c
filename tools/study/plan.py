"""The plan of a study: items with stable keys in one order, grouped into jobs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from qbnnc.passes.options import Bits
from qbnnc.study.results import Precision, Result
from qbnnc.support.errors import UserError


@dataclass(frozen=True, slots=True)
class Item:
    """One row of the results. `bits` is None at float precision."""

    network: str
    precision: Precision
    bits: Bits | None
    seed: int

    @property
    def key(self) -> str:
        """ "lenet/ptq/w4a7/seed0": unique in a study, the same in every run of it."""
        bits = () if self.bits is None else (str(self.bits),)
        return "/".join((self.network, self.precision.value, *bits, f"seed{self.seed}"))

    @property
    def configuration(self) -> str:
        """ "ptq w4a7" or "float"."""
        return self.precision.value + ("" if self.bits is None else f" {self.bits}")


@dataclass(frozen=True, slots=True)
class Job:
    """The items that a worker computes in one go: seeds of one configuration share a compile."""

    items: tuple[Item, ...]

    @property
    def network(self) -> str:
        return self.items[0].network


@dataclass(frozen=True, slots=True)
class Plan:
    """All items of a study: each network in float and at `bits`, with each seed.

    A network in which nothing is random gives the same for every seed, so it is evaluated with the
    first only; its quantisation-aware training still differs between seeds.
    """

    networks: tuple[str, ...]
    random: Mapping[str, bool]  # whether a network's predictions depend on the seed
    bits: tuple[Bits, ...]
    precisions: tuple[Precision, ...]
    seeds: tuple[int, ...]

    def items(self) -> Iterator[Item]:
        """In the order in which the results are kept."""
        for network in self.networks:
            for precision in self.precisions:
                for bits in (None,) if precision is Precision.FLOAT else self.bits:
                    for seed in self._seeds(network, precision):
                        yield Item(network, precision, bits, seed)

    def _seeds(self, network: str, precision: Precision) -> tuple[int, ...]:
        if self.random[network] or precision is Precision.QAT:
            return self.seeds
        return self.seeds[:1]


def in_order(results: Iterable[Result], networks: Sequence[str]) -> tuple[Result, ...]:
    """Sort results as one plan of all of them would, whichever plans they came from."""
    held = list(results)
    widths = [Bits(r.weights, r.activations) for r in held if r.weights and r.activations]
    place = {(b.weights, b.activations): i for i, b in enumerate(ordered(widths))}

    def key(result: Result) -> tuple[int, int, int, int]:
        return (
            networks.index(result.network),
            list(Precision).index(result.precision),
            place.get((result.weights or 0, result.activations or 0), -1),
            result.seed,
        )

    return tuple(sorted(held, key=key))


def jobs(items: Iterable[Item]) -> list[Job]:
    """Group the items of a PTQ configuration into one job, for one compile; others stay alone.

    `items` are in the order of a plan. Fine-tuning is slow and comes first, so that no worker
    still has such a job when the others have finished.
    """
    grouped: list[Job] = []
    for item, same in groupby(items, key=lambda i: (i.network, i.precision, i.bits)):
        group = tuple(same)
        alone = item[1] is not Precision.PTQ
        grouped += [Job((i,)) for i in group] if alone else [Job(group)]
    return sorted(grouped, key=lambda job: job.items[0].precision is not Precision.QAT)


def paper_grid(weights: Sequence[int], activations: Sequence[int]) -> tuple[Bits, ...]:
    """Every width of weights at the most activation bits, and the other way round.

    >>> [str(b) for b in paper_grid((8, 4), (7, 3))]
    ['w8a7', 'w4a7', 'w8a3']
    """
    most = Bits(max(weights), max(activations))
    pairs = [Bits(w, most.activations) for w in weights] + [
        Bits(most.weights, a) for a in activations
    ]
    return ordered(pairs)


def full_grid(weights: Sequence[int], activations: Sequence[int]) -> tuple[Bits, ...]:
    """Every width of weights with every width of activations."""
    return ordered(Bits(w, a) for w in weights for a in activations)


def ordered(bits: Iterable[Bits]) -> tuple[Bits, ...]:
    """Sort the bits, each once: the most activation bits first, and there the most weight bits."""
    lines = sorted(set(bits), key=lambda b: (b.weights, b.activations), reverse=True)
    widest = max((b.activations for b in lines), default=0)
    return tuple(sorted(lines, key=lambda b: b.activations != widest))


def parse_widths(option: str, text: str) -> tuple[int, ...]:
    """ "3..8" or "3,4,8" -> whole numbers from 2 to 8, each once; UserError for anything else.

    >>> parse_widths("--weights-bits", "3..5,8")
    (8, 5, 4, 3)
    """
    widths: set[int] = set()
    for part in text.replace(" ", "").split(","):
        match = re.fullmatch(r"([2-8])(?:\.\.([2-8]))?", part)
        if match is None or (match[2] and match[2] < match[1]):
            raise UserError(
                f"{option} {text!r}: write numbers of bits from 2 to 8, such as 3..8 or 4,6,8"
            )
        widths |= set(range(int(match[1]), int(match[2] or match[1]) + 1))
    return tuple(sorted(widths, reverse=True))


def parse_bits(text: str) -> tuple[Bits, ...]:
    """ "w8a7,w4a4" -> Bits, in the order of a study; UserError for anything else."""
    return ordered(Bits.parse(part) for part in text.split(","))
