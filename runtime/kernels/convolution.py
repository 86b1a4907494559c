"""Convolutions and linear layers: an implicit matrix product over [H, W, C], and its epilogues.

Four output positions at a time share each weight that is loaded. A position's operands are a row
of bytes: in place if the kernel is 1 x 1, else gathered, with the zero point outside the image.
"""

from __future__ import annotations

import numpy as np

from qbnnc.runtime.instructions import Convolve, Epilogue
from qbnnc.runtime.kernels import context as CONTEXT
from qbnnc.runtime.kernels.addressing import locate
from qbnnc.runtime.kernels.jit import kernel
from qbnnc.runtime.kernels.rounding import bounds, round_into
from qbnnc.runtime.program import Place, columns_of

C = columns_of(Convolve)
BLOCK = 128  # output channels at a time; a constant, so that LLVM needs one alias check a tile
TILE = 4  # output positions at a time, and steps along K
_CONSTANT, _SAMPLE = int(Place.CONSTANT), int(Place.SAMPLE)
_REQUANTIZE, _DEQUANTIZE = int(Epilogue.REQUANTIZE), int(Epilogue.DEQUANTIZE)


@kernel
def multiply_four(acc, x0, x1, x2, x3, weights, bias, depth, width):
    """acc[m][n] = bias[n] + sum_k x_m[k] * weights[k][n], int32 that wraps; acc is [4][BLOCK]."""
    i32 = np.int32
    for n in range(width):
        acc[n] = bias[n]
        acc[BLOCK + n] = bias[n]
        acc[2 * BLOCK + n] = bias[n]
        acc[3 * BLOCK + n] = bias[n]
    for k in range(0, depth, TILE):
        w0, w1 = weights[k * width : (k + 1) * width], weights[(k + 1) * width : (k + 2) * width]
        w2 = weights[(k + 2) * width : (k + 3) * width]
        w3 = weights[(k + 3) * width : (k + 4) * width]
        a0, a1, a2, a3 = i32(x0[k]), i32(x0[k + 1]), i32(x0[k + 2]), i32(x0[k + 3])
        b0, b1, b2, b3 = i32(x1[k]), i32(x1[k + 1]), i32(x1[k + 2]), i32(x1[k + 3])
        c0, c1, c2, c3 = i32(x2[k]), i32(x2[k + 1]), i32(x2[k + 2]), i32(x2[k + 3])
        d0, d1, d2, d3 = i32(x3[k]), i32(x3[k + 1]), i32(x3[k + 2]), i32(x3[k + 3])
        for n in range(width):
            p, q, r, s = i32(w0[n]), i32(w1[n]), i32(w2[n]), i32(w3[n])
            acc[n] += i32(a0 * p + a1 * q + a2 * r + a3 * s)
            acc[BLOCK + n] += i32(b0 * p + b1 * q + b2 * r + b3 * s)
            acc[2 * BLOCK + n] += i32(c0 * p + c1 * q + c2 * r + c3 * s)
            acc[3 * BLOCK + n] += i32(d0 * p + d1 * q + d2 * r + d3 * s)


@kernel
def multiply_one(acc, x, weights, bias, depth, width):
    """The same for a single position."""
    i32 = np.int32
    for n in range(width):
        acc[n] = bias[n]
    for k in range(0, depth, TILE):
        w0, w1 = weights[k * width : (k + 1) * width], weights[(k + 1) * width : (k + 2) * width]
        w2 = weights[(k + 2) * width : (k + 3) * width]
        w3 = weights[(k + 3) * width : (k + 4) * width]
        a0, a1, a2, a3 = i32(x[k]), i32(x[k + 1]), i32(x[k + 2]), i32(x[k + 3])
        for n in range(width):
            p, q, r, s = i32(w0[n]), i32(w1[n]), i32(w2[n]), i32(w3[n])
            acc[n] += i32(a0 * p + a1 * q + a2 * r + a3 * s)


@kernel
def subtract_zeros(acc, x, zeros, taps, width):
    """acc[n] -= Z_w[n] * sum_k x[k]: the run-time term of affine weights."""
    total = np.int32(0)
    for k in range(taps):
        total = np.int32(total + np.int32(x[k]))
    for n in range(width):
        acc[n] = np.int32(acc[n] - np.int32(zeros[n] * total))


@kernel
def copy(target, source, count):
    for i in range(count):
        target[i] = source[i]


@kernel
def fill(target, code, count):
    for i in range(count):
        target[i] = code


@kernel
def gather(patch, image, row, y, x, first):
    """The window of output position (y, x) in the order [kh][kw][channels of the group]."""
    channels, width = row[C.channels], row[C.width]
    pixel, pad_code = channels * row[C.groups], np.uint8(row[C.pad_code])
    left, taps = x * row[C.stride_x] - row[C.left], row[C.kernel_width]
    line = taps * channels
    whole = row[C.groups] * row[C.dilation_x] == 1 and left >= 0 and left + taps <= width
    for i in range(row[C.kernel_height]):
        iy = y * row[C.stride_y] - row[C.top] + i * row[C.dilation_y]
        target = patch[i * line : (i + 1) * line]
        if iy < 0 or iy >= row[C.height]:
            fill(target, pad_code, line)
        elif whole:
            copy(target, image[(iy * width + left) * pixel :], line)
        else:
            for j in range(taps):
                ix = left + j * row[C.dilation_x]
                part = target[j * channels :]
                if 0 <= ix < width:
                    copy(part, image[(iy * width + ix) * pixel + first :], channels)
                else:
                    fill(part, pad_code, channels)


@kernel
def finish(row, acc, factor, at, count, arena, arena32, out):
    """The epilogue for `count` channels of one position, whose elements begin at `at`."""
    step = row[C.channel_step]
    if row[C.epilogue] == _REQUANTIZE:
        low, high, zero = bounds(row[C.low], row[C.high], row[C.zero])
        codes = arena[at : at + count]
        for n in range(count):
            code = round_into(np.float32(acc[n]) * factor[n], low, high, zero)
            codes[n] = np.uint8(code)
    elif row[C.epilogue] == _DEQUANTIZE:
        for n in range(count):
            out[at + n * step] = np.float32(acc[n]) * factor[n]
    else:
        sums = arena32[at : at + count]
        for n in range(count):
            sums[n] = acc[n]


@kernel
def parts(row, context):
    """How many runs of positions there are that share weights and bias: one, or one a sample."""
    sampled = row[C.weights + 2] == _SAMPLE or row[C.bias + 2] == _SAMPLE
    return context[CONTEXT.SAMPLES] if sampled else 1


@kernel
def convolve(row, context, arena, arena32, constants, constants_i32, constants_f32, out):
    """All positions of all copies of a block; group by group, tile by tile, BLOCK by BLOCK.

    The positions of a tile share their weights: with sampled ones they are of one sample.
    """
    base, sample_step, row_step = locate(row, C.input, context)
    target, target_sample, target_row = locate(row, C.output, context)
    weights_base, weights_sample, _ = locate(row, C.weights, context)
    bias_base, bias_sample, _ = locate(row, C.bias, context)
    weight_bytes = constants if row[C.weights + 2] == _CONSTANT else arena
    biases = constants_i32 if row[C.bias + 2] == _CONSTANT else arena32
    if row[C.epilogue] != _REQUANTIZE and row[C.epilogue] != _DEQUANTIZE:
        target, target_sample, target_row = target // 4, target_sample // 4, target_row // 4
    channels, filters, depth = row[C.channels], row[C.filters], row[C.depth]
    taps = row[C.kernel_height] * row[C.kernel_width] * channels
    pixels, out_width = row[C.out_height] * row[C.out_width], row[C.out_width]
    direct = (
        row[C.kernel_height] * row[C.kernel_width] * row[C.groups] == 1
        and row[C.stride_y] * row[C.stride_x] == 1
        and pixels == row[C.height] * row[C.width]
    )
    rows, shares = context[CONTEXT.ROWS], parts(row, context)
    positions = context[CONTEXT.SAMPLES] * rows * pixels // shares
    image_bytes = row[C.height] * row[C.width] * channels * row[C.groups]
    padded = (filters + 15) // 16 * 16
    scratch = row[C.scratch]
    acc_at = scratch // 4
    patch_at = scratch + 4 * TILE * BLOCK
    x_at = np.empty(TILE, np.int64)
    out_at = np.empty(TILE, np.int64)
    for turn in range(shares * row[C.groups]):
        part = turn // row[C.groups]
        group = turn - part * row[C.groups]
        weights_at = weights_base + part * weights_sample + group * depth * padded
        per_channel = group * padded
        bias_at = (bias_base + part * bias_sample) // 4 + per_channel
        first, end = part * positions, (part + 1) * positions
        while first < end:
            count = min(TILE, end - first)
            if count < TILE:
                count = 1
            for m in range(count):
                position = first + m
                copy = position // pixels
                pixel = position - copy * pixels
                s = copy // rows
                r = copy - s * rows
                at = base + s * sample_step + r * row_step
                if direct:
                    x_at[m] = at + pixel * channels
                else:
                    x_at[m] = patch_at + m * depth
                    y = pixel // out_width
                    patch = arena[x_at[m] : x_at[m] + depth]
                    image = arena[at : at + image_bytes]
                    gather(patch, image, row, y, pixel - y * out_width, group * channels)
                out_at[m] = target + s * target_sample + r * target_row + pixel * row[C.pixel_step]
            done = 0
            while done < filters:
                width = min(BLOCK, padded - done)
                start = weights_at + done * depth
                weights = weight_bytes[start : start + depth * width].view(np.int8)
                bias = biases[bias_at + done : bias_at + done + width]
                acc = arena32[acc_at : acc_at + TILE * BLOCK]
                x0 = arena[x_at[0] : x_at[0] + depth]
                if count == TILE:
                    x1 = arena[x_at[1] : x_at[1] + depth]
                    x2 = arena[x_at[2] : x_at[2] + depth]
                    x3 = arena[x_at[3] : x_at[3] + depth]
                    multiply_four(acc, x0, x1, x2, x3, weights, bias, depth, width)
                else:
                    multiply_one(acc, x0, weights, bias, depth, width)
                start = row[C.factor] // 4 + per_channel + done
                factor = constants_f32[start : start + width]
                channel = (group * filters + done) * row[C.channel_step]
                for m in range(count):
                    sums = acc[m * BLOCK : m * BLOCK + width]
                    if row[C.weight_zeros] >= 0:
                        start = row[C.weight_zeros] // 4 + per_channel + done
                        zeros = constants_i32[start : start + width]
                        subtract_zeros(sums, arena[x_at[m] : x_at[m] + taps], zeros, taps, width)
                    useful = min(width, filters - done)
                    finish(row, sums, factor, out_at[m] + channel, useful, arena, arena32, out)
                done += width
            first += count
