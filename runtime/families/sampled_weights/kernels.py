"""Noise and sampled weights, once for each sample: docs/semantics.md, sections 5 and 6."""

from __future__ import annotations

import numpy as np

from qbnnc.runtime.families.sampled_weights.instructions import (
    DrawWeight,
    EpsCodes,
    FoldBias,
    SampleWeight,
)
from qbnnc.runtime.families.sampled_weights.noise_to_codes import codes_from_noise, panel_from_noise
from qbnnc.runtime.kernels.addressing import int32_at, locate
from qbnnc.runtime.kernels.jit import Kernel, kernel
from qbnnc.runtime.kernels.random import derive, draw_words
from qbnnc.runtime.kernels.records import CONTEXT
from qbnnc.runtime.packing import K_BLOCK, PANEL
from qbnnc.runtime.program import Instruction, Place, columns_of
from qbnnc.support.table import Table

KERNELS = Table[type[Instruction], Kernel]()
E = columns_of(EpsCodes)
W = columns_of(SampleWeight)
D = columns_of(DrawWeight)
F = columns_of(FoldBias)
WORDS = 512  # random words at a time
_CHANNELS = 64  # whose words stay in the cache while they are read once for each tap
_CONSTANT = int(Place.CONSTANT)

int8_codes, int32_codes = codes_from_noise(1), codes_from_noise(4)


@KERNELS.of(EpsCodes)
@kernel
def eps_codes(row, context, memory):
    arena, constants = memory.arena, memory.constants
    target, target_sample, _ = locate(row, E.output, context)
    table = constants[row[E.table] : row[E.table] + 65536]
    stream_key = derive(np.uint64(context[CONTEXT.seed]), np.uint64(row[E.stream]))
    scratch, size = row[E.scratch], row[E.size]
    words = arena[scratch : scratch + 8 * WORDS].view(np.uint64)
    lanes = arena[scratch : scratch + 8 * WORDS].view(np.uint16)
    for s in range(context[CONTEXT.samples]):
        number = context[CONTEXT.sample_number] + s * context[CONTEXT.sample_step]
        key = derive(stream_key, np.uint64(number))
        for first in range(0, size, 4 * WORDS):
            count = min(4 * WORDS, size - first)
            draw_words(words[: (count + 3) // 4], key, np.uint64(first // 4))
            start = target + s * target_sample + first
            codes = arena[start : start + count]
            for i in range(count):
                codes[i] = table[lanes[i]]


@kernel
def gather_noise(noise, eps, places, columns, width):
    """noise[n][j] = eps[places[j] + columns[n][j]]; it is any number if places[j] is -1."""
    step = len(places)
    adjacent = step == K_BLOCK and places[0] >= 0
    for j in range(1, step):
        adjacent = adjacent and places[j] == places[0] + j
    if adjacent:
        quads, start = noise.view(np.int32), eps.ctypes.data + places[0]
        for n in range(width):
            quads[n] = int32_at(start + columns[n * K_BLOCK])
        return
    for j in range(step):
        of_place = eps[max(0, places[j]) :]
        for n in range(width):
            element = np.uint32(n * step + j)
            noise[element] = of_place[np.uint32(columns[element])]


@kernel
def clear_padding(codes, places, width):
    """Write zeros if places[j] is -1, or the padding of a run would be multiplied."""
    step = len(places)
    if places[step - 1] >= 0:
        return
    for j in range(step):
        if places[j] < 0:
            for n in range(width):
                codes[n * step + j] = 0


@kernel
def sample_block(row, eps, noise, arena, constants, ints, target, first):
    """Make one block of channels from `first` on: [lines][width][step] of the target."""
    step, item = row[W.step], row[W.item]
    width = min(row[W.block], row[W.padded] - first % row[W.padded])
    low, high, count = np.int32(row[W.low]), np.int32(row[W.high]), width * step
    base = constants.ctypes.data
    for line in range(row[W.depth] // step):
        at = first * row[W.depth] + line * count
        places = ints[row[W.rows] // 4 + line * step : row[W.rows] // 4 + (line + 1) * step]
        columns = ints[row[W.columns] // 4 + (at if row[W.column_step] == 1 else first * step) :]
        granule = 4 * (at if row[W.granule_step] == 1 else first * step)
        gather_noise(noise, eps, places, columns, width)
        mu, sigma = base + row[W.mu] + at, base + row[W.sigma] + at
        ratio, divisor = base + row[W.ratio] + granule, base + row[W.divisor] + granule
        zeros, codes = base + row[W.zeros] + 4 * first * step, target + item * at
        made, drawn = arena.ctypes.data + codes, noise.ctypes.data
        if item == 1:
            int8_codes(made, drawn, 4, sigma, mu, ratio, divisor, zeros, low, high, count)
            clear_padding(arena[codes : codes + count], places, width)
        else:
            int32_codes(made, drawn, 4, sigma, mu, ratio, divisor, zeros, low, high, count)


@KERNELS.of(SampleWeight)
@kernel
def sample_weight(row, context, memory):
    arena, constants, ints = memory.arena, memory.constants, memory.ints
    target, target_sample, _ = locate(row, W.output, context)
    eps_at, eps_sample, _ = locate(row, W.eps, context)
    padded, at = row[W.padded], row[W.scratch]
    noise = arena[at : at + row[W.block] * row[W.step]].view(np.int8)
    for s in range(context[CONTEXT.samples]):
        eps = arena[eps_at + s * eps_sample :].view(np.int8)
        for group in range(row[W.groups]):
            for done in range(0, padded, row[W.block]):
                first = group * padded + done
                at = target + s * target_sample
                sample_block(row, eps, noise, arena, constants, ints, at, first)


@kernel
def draw_channel(noise, words, lanes, table, key, first, channels, taps):
    """Write noise[t][c], the eps of lane first + c * taps + t of a sample's key.

    The longer of the two loops is the inner one.
    """
    word = first // 4
    skip, count = first - 4 * word, channels * taps
    draw_words(words[: (skip + count + 3) // 4], key, np.uint64(word))
    drawn = lanes[skip : skip + count]
    if min(taps, channels) == 1:
        for i in range(count):
            noise[i] = table[drawn[i]]
        return
    if channels < taps:
        for c in range(channels):
            of_channel = drawn[c * taps : (c + 1) * taps]
            for t in range(taps):
                noise[np.uint32(t * channels + c)] = table[of_channel[t]]
        return
    for start in range(0, channels, _CHANNELS):
        some = min(_CHANNELS, channels - start)
        for t in range(taps):
            of_tap = drawn[start * taps + t :]
            made = noise[t * channels + start : t * channels + start + some]
            for c in range(some):
                made[c] = table[of_tap[np.uint32(c * taps)]]


@KERNELS.of(DrawWeight)
@kernel
def draw_weight(row, context, memory):
    """Draw each panel: the noise of its channels, then its codes."""
    arena, constants, ints = memory.arena, memory.constants, memory.ints
    target, target_sample, _ = locate(row, D.output, context)
    table = constants[row[D.table] : row[D.table] + 65536].view(np.int8)
    stream_key = derive(np.uint64(context[CONTEXT.seed]), np.uint64(row[D.stream]))
    size, at = row[D.channels] * row[D.taps], row[D.scratch]
    pitch, word_bytes = size + K_BLOCK, 8 * (size // 4 + 2)
    words, lanes = (
        arena[at : at + word_bytes].view(np.uint64),
        arena[at : at + word_bytes].view(np.uint16),
    )
    noise = arena[at + word_bytes : at + word_bytes + PANEL * pitch].view(np.int8)
    for s in range(context[CONTEXT.samples]):
        number = context[CONTEXT.sample_number] + s * context[CONTEXT.sample_step]
        key = derive(stream_key, np.uint64(number))
        for group in range(row[D.groups]):
            for done in range(0, row[D.padded], PANEL):
                for n in range(min(PANEL, row[D.filters] - done)):
                    first = (group * row[D.filters] + done + n) * size
                    of_channel = noise[n * pitch : n * pitch + size]
                    draw_channel(
                        of_channel, words, lanes, table, key, first, row[D.channels], row[D.taps]
                    )
                made = target + s * target_sample
                first = group * row[D.padded] + done
                make_panel(row, noise, pitch, arena, constants, ints, made, first)


@kernel
def make_panel(row, noise, pitch, arena, constants, ints, target, first):
    """Make the codes of the panel whose first channel is `first`."""
    width = min(PANEL, row[D.padded] - first % row[D.padded])
    low, high, count = np.int32(row[D.low]), np.int32(row[D.high]), width * K_BLOCK
    base, of_channels = constants.ctypes.data, 4 * first * K_BLOCK
    made, drawn, lines = arena.ctypes.data + target, noise.ctypes.data, row[D.depth] // K_BLOCK
    first_code, places = first * row[D.depth], base + row[D.rows]
    if row[D.simple] == 1:
        sigma, mu = base + row[D.sigma] + first_code, base + row[D.mu] + first_code
        ratio, divisor = base + row[D.ratio] + of_channels, base + row[D.divisor] + of_channels
        panel_from_noise(
            made + first_code, drawn, pitch, places, sigma, mu, ratio, divisor, low, high, count,
            lines,
        )  # fmt: skip
    for line in range(lines):
        at = first_code + line * count
        start = row[D.rows] // 4 + line * K_BLOCK
        if row[D.simple] == 0:
            granule = 4 * at if row[D.granule_step] == 1 else of_channels
            int8_codes(
                made + at,
                drawn + ints[start],
                pitch,
                base + row[D.sigma] + at,
                base + row[D.mu] + at,
                base + row[D.ratio] + granule,
                base + row[D.divisor] + granule,
                base + row[D.zeros] + of_channels,
                low,
                high,
                count,
            )
        codes = arena[target + at : target + at + count]
        clear_padding(codes, ints[start : start + K_BLOCK], width)


@kernel
def fold_channels(row, folded, bias, weights, terms, count):
    """Fold `weights` [lines][channels][step] into the bias, in int32 that wraps."""
    step, zero = row[F.step], np.int32(row[F.input_zero])
    for n in range(count):
        folded[n] = 0
    for line in range(row[F.depth] // step):
        codes = weights[line * count * step : (line + 1) * count * step]
        for n in range(count):
            for j in range(step):
                folded[n] = np.int32(folded[n] + np.int32(codes[n * step + j]))
    for n in range(count):
        folded[n] = np.int32(np.int32(bias[n] + terms[n]) - np.int32(zero * folded[n]))


@KERNELS.of(FoldBias)
@kernel
def fold_bias(row, context, memory):
    """Fold sums of sampled weights into a bias; constant weights have no sum here."""
    arena, arena32, ints = memory.arena, memory.arena32, memory.ints
    target, target_sample, _ = locate(row, F.output, context)
    weights_base, weights_sample, _ = locate(row, F.weights, context)
    bias_base, bias_sample, _ = locate(row, F.bias, context)
    biases = ints if row[F.bias + 2] == _CONSTANT else arena32
    padded, depth = row[F.padded], row[F.depth]
    for s in range(context[CONTEXT.samples]):
        for group in range(row[F.groups]):
            for done in range(0, padded, row[F.block]):
                first, width = group * padded + done, min(row[F.block], padded - done)
                start = weights_base + s * weights_sample + (group * padded + done) * depth
                weights = arena[start : start + depth * width].view(np.int8)
                at = (target + s * target_sample) // 4 + first
                folded = arena32[at : at + width]
                at = (bias_base + s * bias_sample) // 4 + first
                bias, terms = biases[at : at + width], ints[row[F.terms] // 4 + first :]
                fold_channels(row, folded, bias, weights, terms, width)
