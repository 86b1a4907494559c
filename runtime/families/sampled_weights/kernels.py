"""Noise and sampled weights, once for each sample: docs/semantics.md, sections 5 and 6."""

from __future__ import annotations

import numpy as np

from qbnnc.runtime.families.sampled_weights.drawing import draw_column, draw_quads
from qbnnc.runtime.families.sampled_weights.instructions import (
    DrawWeight,
    EpsCodes,
    FoldBias,
    SampleWeight,
)
from qbnnc.runtime.families.sampled_weights.noise import noise_form
from qbnnc.runtime.families.sampled_weights.noise_to_codes import codes_from_noise
from qbnnc.runtime.isa import chosen
from qbnnc.runtime.kernels.addressing import int32_at, locate
from qbnnc.runtime.kernels.jit import Kernel, kernel
from qbnnc.runtime.kernels.random import derive
from qbnnc.runtime.kernels.records import CONTEXT
from qbnnc.runtime.layout import K_BLOCK
from qbnnc.runtime.packing import PANEL
from qbnnc.runtime.program import Instruction, Place, columns_of
from qbnnc.support.table import Table

KERNELS = Table[type[Instruction], Kernel]()
E = columns_of(EpsCodes)
W = columns_of(SampleWeight)
D = columns_of(DrawWeight)
F = columns_of(FoldBias)
_FORM = noise_form(chosen())
CHANNELS, QUAD = _FORM.channels, _FORM.quad
_CONSTANT = int(Place.CONSTANT)

int8_codes, int32_codes = codes_from_noise(1), codes_from_noise(4)
draw_codes, draw_noise = draw_column(chosen(), _FORM), draw_quads(_FORM)


@KERNELS.of(EpsCodes)
@kernel
def eps_codes(row, context, memory):
    """Draw whole quads where they go, and the last lanes in the scratch space."""
    arena, base = memory.arena, memory.constants.ctypes.data
    target, target_sample, _ = locate(row, E.output, context)
    stream_key = derive(np.uint64(context[CONTEXT.seed]), np.uint64(row[E.stream]))
    table, scratch, size = base + row[E.table], row[E.scratch], row[E.size]
    whole = size // QUAD
    for s in range(context[CONTEXT.samples]):
        number = context[CONTEXT.sample_number] + s * context[CONTEXT.sample_step]
        key, at = np.int64(derive(stream_key, np.uint64(number))), target + s * target_sample
        draw_noise(arena.ctypes.data + at, key, 0, K_BLOCK, CHANNELS, whole, table)
        rest = size - whole * QUAD
        if rest:
            last = arena.ctypes.data + scratch
            draw_noise(last, key, whole * QUAD, K_BLOCK, CHANNELS, 1, table)
            for i in range(rest):
                arena[at + whole * QUAD + i] = arena[scratch + i]


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


@KERNELS.of(DrawWeight)
@kernel
def draw_weight(row, context, memory):
    """Draw the weights of all samples, column by column.

    A call makes the codes of one column and the noise of the next one.
    """
    arena, constants, ints = memory.arena, memory.constants, memory.ints
    target, target_sample, _ = locate(row, D.output, context)
    stream_key = derive(np.uint64(context[CONTEXT.seed]), np.uint64(row[D.stream]))
    base, lanes, padded, depth = constants.ctypes.data, row[D.lanes], row[D.padded], row[D.depth]
    quads, lines, places = (lanes + K_BLOCK - 1) // K_BLOCK, depth // K_BLOCK, 0
    noise, room = arena.ctypes.data + row[D.scratch], QUAD * (lines + 1)
    if row[D.straight] == 1:
        quads = lines
    else:
        places = base + row[D.places]
        for i in range(2 * room):  # also where no lane goes, which is padding
            arena[row[D.scratch] + i] = 0
    count = context[CONTEXT.samples] * row[D.groups] * ((padded + CHANNELS - 1) // CHANNELS)
    s, group, channel, key, lane = -1, row[D.groups], padded, np.uint64(0), 0
    at, first, width, pitch, codes = 0, 0, 0, 0, target
    for number in range(count + 1):
        makes = number < count
        if channel >= padded:
            channel, group = 0, group + 1
        if group >= row[D.groups]:
            group, s = 0, s + 1
            sample = context[CONTEXT.sample_number] + s * context[CONTEXT.sample_step]
            key = derive(stream_key, np.uint64(sample))
        lane = (group * row[D.filters] + channel) * lanes
        draw_codes(
            noise + (number & 1) * room,
            np.int64(key),
            lane,
            lanes,
            1,
            quads if makes else 0,
            base + row[D.table],
            places,
            noise + (1 - (number & 1)) * room,
            arena.ctypes.data + codes,
            pitch,
            QUAD // 2 if width > CHANNELS // 2 else 0,
            base + row[D.sigma] + at,
            base + row[D.mu] + at,
            base + row[D.ratio] + first,
            base + row[D.divisor] + first,
            base + row[D.zeros] + first,
            lines if number > 0 else 0,
            np.int32(row[D.low]),
            np.int32(row[D.high]),
        )
        if row[D.affine] == 1 and number > 0:
            for line in range(lines):
                rows = row[D.rows] // 4 + line * K_BLOCK
                if ints[rows + K_BLOCK - 1] < 0:
                    start, of_line = codes + line * pitch, ints[rows : rows + K_BLOCK]
                    clear_padding(arena[start:], of_line, min(width, CHANNELS))
        if makes:
            panel = channel // PANEL * PANEL
            pitch = K_BLOCK * min(PANEL, padded - panel)
            width = pitch // K_BLOCK - (channel - panel)
            at = (group * padded + panel) * depth + K_BLOCK * (channel - panel)
            first = 4 * K_BLOCK * (group * padded + channel)
            codes = target + s * target_sample + at
            channel += CHANNELS


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
