"""Random values of a member, written before the nodes that read them."""

from __future__ import annotations

import onnx_ir

from qbnnc.backends.onnx.drawn_in_parts import parts_of, write_in_parts
from qbnnc.backends.onnx.masks import write_masks
from qbnnc.backends.onnx.noise import noise_table, write_noise
from qbnnc.backends.onnx.scope import Scope
from qbnnc.backends.onnx.streams import Counters, Stream, groups, sample_keys, write_words
from qbnnc.ir.ops import KeepMask


def write_random_values(scope: Scope, counters: Counters, sample_numbers: range) -> None:
    """Write all masks and noise as values of `scope`; one call mixes each group of streams."""
    every = groups(scope.graph, len(sample_numbers))
    if not every:
        return
    streams = [stream for group in every for stream in group]
    keys = sample_keys(scope, counters, streams, sample_numbers)
    for group in every:
        if len(group) == 1 and (found := parts_of(scope, group[0])) is not None:
            write_in_parts(scope, *found, keys[group[0]], noise_table(scope.writer))
            continue
        words = write_words(scope, counters, group, keys)
        masks = [s for s in group if isinstance(s.op, KeepMask)]
        noise = group[len(masks) :]  # `groups` puts the masks first
        if masks:
            write_masks(scope, masks, _part(scope, group, masks, 0, words))
        if noise:
            own = _part(scope, group, noise, _words(masks), words)
            write_noise(scope, noise, own, noise_table(scope.writer))


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
