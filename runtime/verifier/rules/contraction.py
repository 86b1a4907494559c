"""Rules of convolutions and linear layers."""

from __future__ import annotations

from qbnnc.runtime.families.contraction.instructions import Convolve, Depthwise, Epilogue, Winograd
from qbnnc.runtime.families.contraction.scratch import SCRATCH
from qbnnc.runtime.families.contraction.scratch import TILE_PANEL as PANEL
from qbnnc.runtime.layout import CHANNEL_BLOCK, K_BLOCK
from qbnnc.runtime.packing import NARROW
from qbnnc.runtime.program import Instruction, Place
from qbnnc.runtime.verifier.line import Line, Rule
from qbnnc.support.table import Table

RULES = Table[type[Instruction], Rule]()
_NUMBERS = 16  # of a transformed tile of Winograd's
_APART = 64  # bytes between the numbers of m and u
_PARAMETER_PLACES = frozenset({Place.CONSTANT, Place.FIXED, Place.SAMPLE})


@RULES.of(Convolve)
def convolve(line: Line) -> None:
    """Runs are read in k-blocks, with up to 15 codes beyond."""
    line.positive("groups channels segments run k_blocks pixels images height width")
    line.flag("wide")
    line.require(line.steps in (1, 2, 4), f"steps is {line.steps}, not 1, 2 or 4")
    line.require(line.k_blocks % line.steps == 0, "a run is no whole number of steps")
    line.require(K_BLOCK * line.k_blocks >= line.run, "a run is longer than its k-blocks")
    line.require(
        line.depth == K_BLOCK * line.k_blocks * line.segments, "the depth is not that of the runs"
    )
    pixel = line.channels * line.groups
    reach = (
        line.indices("pixel_offsets", line.pixels, 0)
        + line.indices("run_offsets", line.segments, 0)
        + (line.groups - 1) * line.channels
        + line.run
    )
    beyond = K_BLOCK * line.k_blocks - line.run
    if line.halo_height == 0:
        line.read("input", reach, beyond)
        line.scratch(SCRATCH)
    else:
        line.positive("halo_height halo_width")
        line.natural("top left")
        halo = line.halo_height * line.halo_width * pixel
        line.require(reach <= halo, f"the line reads {reach} bytes of a halo of {halo}")
        line.read("input", line.height * line.width * pixel)
        line.scratch(SCRATCH + line.images * halo, beyond)
    _parameters(line, line.groups * line.padded, line.depth)
    vectors = line.weight_zeros < 0 and (line.groups == 1 or line.filters == line.padded)
    _output(line, line.pixels, line.groups * line.filters, vectors=vectors)


@RULES.of(Depthwise)
def depthwise(line: Line) -> None:
    """The kernel tests windows against the image, and reads nothing beyond it."""
    line.positive("height width out_height out_width kernel_height kernel_width")
    line.positive("stride_y stride_x dilation_y dilation_x")
    line.require(
        line.depth == line.kernel_height * line.kernel_width, "the depth is not that of the window"
    )
    line.read("input", line.height * line.width * line.filters)
    line.scratch(5 * CHANNEL_BLOCK)
    _parameters(line, line.padded, line.depth)
    _output(line, line.out_height * line.out_width, line.filters, vectors=False)


@RULES.of(Winograd)
def winograd(line: Line) -> None:
    """The scratch space has addresses, a patch, v, m and u, then outputs beyond the image."""
    line.positive("height width out_height out_width tiles depth pitch")
    line.require(
        line.depth % PANEL == line.filters % PANEL == 0, "the channels are no whole panels"
    )
    line.require(
        line.epilogue == Epilogue.REQUANTIZE, "Winograd's form does not requantise its sums"
    )
    line.require(line.weight_zeros < 0, "the weights of Winograd's form have zero points")
    line.require(line.pitch >= 2 * line.tiles * line.depth, "the numbers of v overlap")
    numbers = line.values("numbers", _NUMBERS)
    line.require(
        numbers == [k * line.pitch for k in range(_NUMBERS)], "the numbers of v begin elsewhere"
    )
    line.constants("none", 4 * PANEL)
    addresses, patch = 48 * line.tiles, 16 * line.depth
    of_m, of_u = 4 * PANEL * line.tiles + _APART, 2 * PANEL * line.depth + _APART
    used = addresses + patch + _NUMBERS * (line.pitch + of_m + of_u)
    line.require(line.nowhere >= used, "outputs beyond the image overwrite the scratch space")
    line.scratch(line.nowhere + line.filters)
    line.read("input", line.height * line.width * line.depth)
    _parameters(line, line.filters, 9 * line.depth)
    _output(line, line.out_height * line.out_width, line.filters, vectors=False)


def _parameters(line: Line, channels: int, depth: int) -> None:
    """State weights, bias, factors and zero points of all channels, with padding."""
    line.positive("filters padded")
    fits = line.filters <= line.padded < line.filters + NARROW and line.padded % NARROW == 0
    line.require(fits, f"{line.filters} channels are padded to {line.padded}")
    line.read("weights", channels * depth, places=_PARAMETER_PLACES)
    line.read("bias", 4 * channels, alignment=4, places=_PARAMETER_PLACES)
    line.constants("factor", 4 * channels)
    if line.weight_zeros >= 0:
        line.constants("weight_zeros", 4 * channels)


def _output(line: Line, pixels: int, channels: int, *, vectors: bool) -> None:
    """State the output; whole vectors of codes are stored if the next ones overwrite the rest."""
    line.require(line.epilogue in set(Epilogue), f"epilogue {line.epilogue} does not exist")
    steps, leaves = (line.channel_step, line.pixel_step), line.epilogue == Epilogue.DEQUANTIZE
    orders = [(1, channels), (pixels, 1)] if leaves else [(1, channels)]
    line.require(steps in orders, f"the steps {steps} are of no known order")
    if line.epilogue == Epilogue.ACCUMULATOR:
        line.write(4 * pixels * channels, alignment=4)
    else:
        beyond = line.padded - line.filters if vectors and not leaves else 0
        line.write(pixels * channels, beyond, leaves=leaves)
