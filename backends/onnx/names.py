"""Names of the IR's values in the ONNX file, so that anyone can find them there.

A value of the IR that exists in the file has its IR name, which comes from the user's module:
"conv1.q" is the uint8 codes of the value "conv1.q". There are two exceptions:

- with several members, the values of member i are called "member<i>/conv1.q";
- a name that belongs to an input or output of the file ("mean") becomes "mean/value".

A file of several inputs calls each as the user does. The metadata property "inputs" lists these
names, and an input that is called as another part of the file ("seed") has "_input" behind it.

In the value_info of such a value the metadata property "value" is the IR's own name (with the
member), and "axes" says what it varies with: "row", "sample", "row,sample". A value with both is
stored with the two leading axes in one: row sample*B + row. Members' common values are there once,
under the first one's name; "also_of" has the numbers of the others. Accumulators that onnxruntime's
fused kernels keep to themselves are not in the file.

Weights are initialisers. They are int8 under their own name, or have a suffix: u8 (plus 128),
transposed, two int4 in a byte. Equal ones are there once. Sampled weights are values like others,
int8 codes for each sample. So are chosen ones, but for those of linear layers, which choose by
themselves.

Nodes are called by layers: "layer1.0.conv1/Conv", "layer1.0.conv1/QuantizeLinear" for the two that
onnxruntime fuses. Viewers show this name, and the doc string: the place in the user's model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qbnnc.ir.types import Axes, Axis

if TYPE_CHECKING:  # a file is run without them
    from qbnnc.ir.graph import Graph
    from qbnnc.ir.model import Model

PRODUCER = "qbnnc"
INPUTS = "inputs"  # the metadata property that lists the names of several inputs
INPUT, SEED, FIRST_ROW = "input", "seed", "first_row"
ROW_IDS = "row_ids"  # an input of files that take the number of every row, not of the first one
DEFAULT_SEED = "default_seed"  # the metadata property of files whose seed may be left out
RNG_CHECK = "rng_check"  # an output of files for other engines
VALUE, AXES, ALSO = "value", "axes", "also_of"
UNSIGNED, TRANSPOSED, PACKED = "/unsigned", "/transposed", "/int4"
IDS = "vocabulary"  # the metadata property of files that take ids: how many each number has
MODEL = "model"  # the metadata property that holds the INTEGER Model
CODES = ".codes"  # the end of an IR name that a pass adds, where the user's name is of a number
BIAS = "/bias"  # a layer's bias without the terms that are folded into the IR's own


def interface_names(model: Model, *, inline: bool, row_ids: bool = False) -> tuple[str, ...]:
    """The inputs, the samples, the statistics; of an inline file the check of random numbers."""
    count = len(model.graph.outputs)
    samples, statistics = model.head.sample_names(count), model.head.statistic_names(count)
    check = (RNG_CHECK,) if inline else ()
    return (
        *input_names(model),
        SEED,
        ROW_IDS if row_ids else FIRST_ROW,
        *samples,
        *statistics,
        *check,
    )


def input_names(model: Model) -> tuple[str, ...]:
    """The names of the inputs: "input", or the user's names of several."""
    if len(model.inputs) == 1:
        return (INPUT,)
    count = len(model.graph.outputs)
    taken = {SEED, FIRST_ROW, ROW_IDS, RNG_CHECK, *model.head.sample_names(count)}
    taken |= {*model.head.statistic_names(count)}
    names = list[str]()
    for entry in model.inputs:
        name = entry.name
        while name in taken:
            name += "_input"
        taken.add(name)
        names.append(name)
    return tuple(names)


def onnx_name(name: str, prefix: str, interface: tuple[str, ...]) -> str:
    """The name in the file of the IR value `name` of the member with this prefix."""
    full = prefix + name
    return f"{full}/value" if full in interface else full


def member_prefix(number: int, members: int) -> str:
    return f"member{number}/" if members > 1 else ""


def value_names(graph: Graph, prefix: str, interface: tuple[str, ...]) -> list[str]:
    """The names of all values of a member."""
    values = [*graph.constants, *(node.output for node in graph.nodes)]
    return [onnx_name(value.name, prefix, interface) for value in values]


def axes_text(axes: Axes) -> str:
    return ",".join(axis.value for axis in Axis if axis in axes)
