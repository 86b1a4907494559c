"""The rule of each op: what an op gives, by what is known of its arguments."""

from __future__ import annotations

from qbnnc.frontend.convert import (
    choices,
    constant_folding,
    noise,
    unsupported_ops,
    zero_states,
)
from qbnnc.frontend.convert.call import Call, Rules
from qbnnc.frontend.convert.constant_folding import (
    blocks,
    folded,
    repeated,
    shared_by_rows,
)
from qbnnc.frontend.convert.dropout_masks import dropout_ops, handwritten_masks, moved_masks
from qbnnc.frontend.convert.layouts.rules import MERGING, by_layout, concerns
from qbnnc.frontend.convert.noise import is_mask, is_noise, noise_of
from qbnnc.frontend.convert.ops import (
    activations,
    arithmetic,
    batch_norm,
    comparisons,
    compound_ops,
    convolutions,
    einsum,
    element_moves,
    elementwise_functions,
    embedding,
    linear,
    normalisation,
    padding_and_upsampling,
    pooling,
    powers,
    recurrent,
    reductions,
    resizing,
    running_sums,
    shapes,
    split_and_concat,
    unpooling,
    volume_pools,
    writes,
)
from qbnnc.frontend.convert.ops.computed_constants import computed
from qbnnc.frontend.convert.ops.id_functions import function, is_function
from qbnnc.frontend.convert.tracked import (
    Activation,
    Blocks,
    Constant,
    DropoutMask,
    Filled,
    MaskSum,
    Result,
    Tracked,
    tracked_among,
)
from qbnnc.frontend.convert.unsupported_values import NotAnActivation
from qbnnc.frontend.program.locations import location, plain_name
from qbnnc.frontend.program.random_ops import op_name
from qbnnc.support.errors import CompileError

# Rules for ops whose result may be random or depend on the batch, though no argument does.
_MAKING: Rules = {
    **constant_folding.MAKING_RULES,
    **noise.DRAWING_RULES,
    **choices.DRAWING_RULES,
}
_RULES: Rules = {
    **_MAKING,
    **activations.RULES,
    **arithmetic.RULES,
    **compound_ops.RULES,
    **convolutions.RULES,
    **einsum.RULES,
    **elementwise_functions.RULES,
    **linear.RULES,
    **batch_norm.RULES,
    **element_moves.RULES,
    **embedding.RULES,
    **dropout_ops.DROPOUT_RULES,
    **handwritten_masks.RULES,
    **split_and_concat.RULES,
    **pooling.RULES,
    **powers.RULES,
    **unpooling.RULES,
    **volume_pools.RULES,
    **writes.RULES,
    **recurrent.RULES,
    **reductions.RULES,
    **shapes.RULES,
    **padding_and_upsampling.RULES,
    **resizing.RULES,
    **running_sums.RULES,
    **normalisation.RULES,
    **comparisons.RULES,  # these call the rules above for masks, and for casts of constants
}
_ELEMENTWISE = frozenset(
    {
        *activations.RULES,
        *arithmetic.RULES,
        *comparisons.RULES,
        *compound_ops.RULES,
        *elementwise_functions.RULES,
        *powers.RULES,
        *shapes.ELEMENTWISE,
    }
)
_UNFOLDED = frozenset({*dropout_ops.DROPOUT_RULES, "expand", "expand_as"})


def result_of(call: Call) -> Result:
    """The tracked result of an op; CompileError if the op is not supported."""
    return _checked(call, _unchecked(call))


def _unchecked(call: Call) -> Result:
    name, inputs = op_name(call.node), list(tracked_among(call.arguments))
    if name in _MAKING:
        return _MAKING[name](call)
    if is_function(call) and (found := function(call)) is not None:
        return found
    if concerns(call, inputs):
        return by_layout(call, result_of, _ELEMENTWISE)
    if (made := zero_states.of_zeros(call)) is not None:
        return made
    if choices.is_chosen(inputs):
        return choices.chosen(call, inputs)
    if name not in dropout_ops.DROPOUT_RULES and is_noise(call.node, inputs):
        return noise_of(call)
    if name not in _UNFOLDED and all(isinstance(each, Constant) for each in inputs):
        return folded(call)
    if any(isinstance(each, Blocks) for each in inputs) and _are_constant(inputs):
        return blocks(call) or _by_rule(call)
    if name not in dropout_ops.DROPOUT_RULES and _are_repeated(inputs):
        return repeated(call) or shared_by_rows(call) or _merged(call) or _by_rule(call)
    return _of_masks(call) if is_mask(inputs) else _by_rule(call)


def _are_constant(inputs: list[Tracked]) -> bool:
    return all(isinstance(each, Blocks | Constant | Filled) for each in inputs)


def _are_repeated(inputs: list[Tracked]) -> bool:
    """Whether these are constants, some of which the batch repeats."""
    filled = [each for each in inputs if isinstance(each, Filled)]
    known = all(each.number is not None or each.row is not None for each in filled)
    return bool(filled) and known and all(isinstance(e, Constant | Filled) for e in inputs)


def _merged(call: Call) -> Result | None:
    """Numbers that all rows repeat, moved so that the batch is merged with other axes."""
    name = "self" if "self" in call.arguments else "tensors"
    given = call.arguments.get(name)
    parts = given if isinstance(given, list) else [given]
    filled = [each for each in parts if isinstance(each, Filled)]
    if op_name(call.node) not in MERGING or len(filled) != len(parts):
        return None
    made = [computed(call, each) for each in filled]
    if any(each is None for each in made):
        return None
    arguments = {**call.arguments, name: made if isinstance(given, list) else made[0]}
    return _unchecked(Call(call.node, arguments, call.context))


def _by_rule(call: Call) -> Result:
    name = op_name(call.node)
    if name in _RULES:
        return _RULES[name](call)
    message, remedy = unsupported_ops.not_supported(name, plain_name(call.node))
    raise CompileError(message, location(call.node), remedy)


def _of_masks(call: Call) -> Result:
    """The op applied to masks; noise, which weights may be, if its rule knows no such mask."""
    name = op_name(call.node)
    try:
        return moved_masks.moved(call) if name in moved_masks.MOVES else _by_rule(call)
    except CompileError as error:
        tracked = tracked_among(call.arguments)
        masks = any(isinstance(each, DropoutMask | MaskSum) for each in tracked)
        told = masks or not isinstance(error, NotAnActivation)
        return noise_of(call, error if told else None)


def _checked(call: Call, result: Result) -> Result:
    """The result; CompileError unless its shape is torch's own, with the batch as first axis."""
    match result:
        case Activation(value) if value.type.shape != call.row_shape():
            call.fail(
                f"gives rows of shape {list(call.row_shape())}, and only {list(value.type.shape)} "
                "is supported for these inputs"
            )
    return result
