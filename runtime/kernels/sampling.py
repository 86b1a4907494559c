"""Noise, and the weights made of it, once for each sample: docs/semantics.md, sections 5 and 6."""

from __future__ import annotations

import numpy as np

from qbnnc.runtime.instructions import EpsCodes, FoldBias, SampleWeight
from qbnnc.runtime.kernels import context as CONTEXT
from qbnnc.runtime.kernels.addressing import locate
from qbnnc.runtime.kernels.jit import kernel
from qbnnc.runtime.kernels.masks import derive, draw_words
from qbnnc.runtime.kernels.rounding import round_into
from qbnnc.runtime.program import Place, columns_of

E = columns_of(EpsCodes)
W = columns_of(SampleWeight)
F = columns_of(FoldBias)
WORDS = 512  # drawn at a time
_CONSTANT = int(Place.CONSTANT)


@kernel
def eps_codes(row, context, arena, constants):
    target, target_sample, _ = locate(row, E.output, context)
    table = constants[row[E.table] : row[E.table] + 65536]
    stream_key = derive(np.uint64(context[CONTEXT.SEED]), np.uint64(row[E.stream]))
    scratch, size = row[E.scratch], row[E.size]
    words = arena[scratch : scratch + 8 * WORDS].view(np.uint64)
    lanes = arena[scratch : scratch + 8 * WORDS].view(np.uint16)
    for s in range(context[CONTEXT.SAMPLES]):
        number = context[CONTEXT.SAMPLE_NUMBER] + s * context[CONTEXT.SAMPLE_STEP]
        key = derive(stream_key, np.uint64(number))
        for first in range(0, size, 4 * WORDS):
            count = min(4 * WORDS, size - first)
            draw_words(words[: (count + 3) // 4], key, np.uint64(first // 4))
            start = target + s * target_sample + first
            codes = arena[start : start + count]
            for i in range(count):
                codes[i] = table[lanes[i]]


@kernel
def round_line(codes, noise, sigma, mu, ratio, divisor, zeros, low, high, count):
    """codes[n] = Z + rint(clip(f32(noise*sigma + R*mu) / r, low - Z, high - Z))."""
    i32, f32 = np.int32, np.float32
    for n in range(count):
        exact = i32(i32(noise[n] * i32(sigma[n])) + i32(ratio[n] * i32(mu[n])))
        zero = zeros[n]
        lowest, highest = f32(i32(low - zero)), f32(i32(high - zero))
        codes[n] = round_into(f32(exact) / divisor[n], lowest, highest, zero)


@kernel
def gather_noise(noise, eps, places, columns, width):
    """noise[n][j] = eps[places[j] + columns[n][j]]; where places[j] is -1, anything."""
    step = len(places)
    for j in range(step):
        of_place = eps[max(0, places[j]) :]
        for n in range(width):
            element = n * step + j
            noise[element] = np.int32(of_place[np.uint32(columns[element])])


@kernel
def clear_padding(codes, places, width):
    """Zeros where places[j] is -1, or the padding of a run would be multiplied."""
    step = len(places)
    for j in range(step):
        if places[j] < 0:
            for n in range(width):
                codes[n * step + j] = 0


@kernel
def sample_block(row, eps, noise, codes, constants, ints, floats, start, first):
    """One block of channels, the first of which is `first`: [lines][width][step] from `start`."""
    step = row[W.step]
    width = min(row[W.block], row[W.padded] - first % row[W.padded])
    low, high, count = np.int32(row[W.low]), np.int32(row[W.high]), width * step
    zeros = ints[row[W.zeros] // 4 + first * step :]
    for line in range(row[W.depth] // step):
        at = start + line * count
        made = codes[at : at + count]
        places = ints[row[W.rows] // 4 + line * step : row[W.rows] // 4 + (line + 1) * step]
        columns = ints[row[W.columns] // 4 + (at if row[W.column_step] == 1 else first * step) :]
        granule = at if row[W.granule_step] == 1 else first * step
        ratio, divisor = (
            ints[row[W.ratio] // 4 + granule :],
            floats[row[W.divisor] // 4 + granule :],
        )
        mu, sigma = constants[row[W.mu] + at :], constants[row[W.sigma] + at :]
        gather_noise(noise, eps, places, columns, width)
        round_line(
            made, noise, sigma.view(np.int8), mu.view(np.int8), ratio, divisor, zeros, low, high,
            count,
        )  # fmt: skip
        clear_padding(made, places, width)


@kernel
def sample_weight(row, context, arena, arena32, constants, ints, floats):
    target, target_sample, _ = locate(row, W.output, context)
    eps_at, eps_sample, _ = locate(row, W.eps, context)
    padded, depth, at = row[W.padded], row[W.depth], row[W.scratch] // 4
    noise = arena32[at : at + row[W.block] * row[W.step]]
    for s in range(context[CONTEXT.SAMPLES]):
        eps, at = arena[eps_at + s * eps_sample :].view(np.int8), target + s * target_sample
        for group in range(row[W.groups]):
            for done in range(0, padded, row[W.block]):
                first = group * padded + done
                start = first * depth
                if row[W.item] == 1:
                    codes = arena[at:].view(np.int8)
                    sample_block(row, eps, noise, codes, constants, ints, floats, start, first)
                else:
                    wide = arena32[at // 4 :]
                    sample_block(row, eps, noise, wide, constants, ints, floats, start, first)


@kernel
def fold_channels(row, folded, bias, weights, terms, count):
    """`weights` is [lines][channels][step]; int32 that wraps."""
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


@kernel
def fold_bias(row, context, arena, arena32, constants_i32):
    """`weights` lie in the arena if there is a sum."""
    target, target_sample, _ = locate(row, F.output, context)
    weights_base, weights_sample, _ = locate(row, F.weights, context)
    bias_base, bias_sample, _ = locate(row, F.bias, context)
    biases = constants_i32 if row[F.bias + 2] == _CONSTANT else arena32
    padded, depth = row[F.padded], row[F.depth]
    for s in range(context[CONTEXT.SAMPLES]):
        for group in range(row[F.groups]):
            for done in range(0, padded, row[F.block]):
                first, width = group * padded + done, min(row[F.block], padded - done)
                start = weights_base + s * weights_sample + (group * padded + done) * depth
                weights = arena[start : start + depth * width].view(np.int8)
                at = (target + s * target_sample) // 4 + first
                folded = arena32[at : at + width]
                at = (bias_base + s * bias_sample) // 4 + first
                bias, terms = biases[at : at + width], constants_i32[row[F.terms] // 4 + first :]
                fold_channels(row, folded, bias, weights, terms, width)
