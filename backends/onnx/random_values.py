"""Random values of a member, written before the nodes that read them."""

from __future__ import annotations

from itertools import groupby

import onnx_ir

from qbnnc.backends.onnx.choice import write_indices
from qbnnc.backends.onnx.drawn_in_parts import parts_of, write_in_parts
from qbnnc.backends.onnx.masks import write_masks
from qbnnc.backends.onnx.noise import codes_table, noise_table, write_noise
from qbnnc.backends.onnx.scope import Scope
from qbnnc.backends.onnx.streams import Counters, Stream, groups, sample_keys, write_words
from qbnnc.ir.ops import ChoiceIndex, EpsCodes, KeepMask, NoiseCodes


def write_random_values(scope: Scope, counters: Counters, sample_numbers: range) -> None:
    """Write all random values of `scope`; one call mixes each group of streams."""
    every = groups(scope.graph, len(sample_numbers))
    if not every:
        return
    streams = [stream for group in every for stream in group]
    keys = sample_keys(scope, counters, streams, sample_numbers)
    for group in every:
        if len(group) == 1 and (found := parts_of(scope, group[0])) is not None:
            write_in_parts(scope, *found, keys[group[0]], noise_table(scope.writer))
            continue
        words, start = write_words(scope, counters, group, keys), 0
        for _, members in groupby(group, key=lambda stream: stream.family):
            family = list(members)
            _write_family(scope, family, _part(scope, group, family, start, words))
            start += _words(family)


def _write_family(scope: Scope, family: list[Stream], words: onnx_ir.Value) -> None:
    match family[0].op:
        case KeepMask():
            write_masks(scope, family, words)
        case EpsCodes():
            write_noise(scope, family, words, noise_table(scope.writer))
        case NoiseCodes() as op:
            write_noise(scope, family, words, codes_table(scope.writer, op))
        case ChoiceIndex():
            write_indices(scope, family, words)


def _part(
    scope: Scope, group: list[Stream], part: list[Stream], start: int, words: onnx_ir.Value
) -> onnx_ir.Value:
    """The words of some of a group's streams, which follow each other."""
    if len(part) == len(group):
        return words
    writer = scope.writer
    ends = (writer.ints(start), writer.ints(start + _words(part)), writer.ints(3))
    return writer.op("Slice", words, *ends, out=f"{words.name}/part")


def _words(streams: list[Stream]) -> int:
    return sum(s.words for s in streams)
