"""Ops that are not supported: the reason, and what compiles instead."""

from __future__ import annotations

import re
from typing import NamedTuple

_USUAL = (
    "linear and convolution layers, batch norm, pooling, activations and other functions of one "
    "element, dropout, sums, products, concatenation, slices, reshapes"
)


class NotSupported(NamedTuple):
    """The message and the remedy of an error about an op."""

    message: str
    remedy: str


ROUNDING = NotSupported(
    "rounds activations, and a small error before it becomes a large one after it",
    "leave it out, or do it after the prediction",
)

# The first pattern that matches the whole name decides.
_FAMILIES: tuple[tuple[str, str, str], ...] = (
    (
        r".*(renorm|local_response_norm).*",
        "normalises parts of each row by their own statistics, which is not supported",
        "use layer norm, group norm, or batch norm with fixed statistics",
    ),
    (
        r"cosine_similarity",
        "is in a program that this version did not trace",
        "save it again, or write (F.normalize(x, dim=-1) * F.normalize(y, dim=-1)).sum(-1)",
    ),
    (
        r".*(logsumexp|cosine_embedding|cdist|pairwise_distance|dist).*",
        "compares or normalises whole rows, which is not supported",
        "return the tensors that it is computed from, and do this after the prediction",
    ),
    (
        r".*(softmax|softmin).*",
        "is a kind of softmax that is not supported",
        "use torch.softmax, with a constant mask by masked_fill before it",
    ),
    (
        r".*attention.*|_native_multi_head.*|transformer_encoder.*",
        "is attention: it multiplies activations by weights that a softmax computes "
        "from the input, which is not supported",
        "use convolutions over the positions, or products of two activations",
    ),
    (
        r".*(pack_padded|pad_packed|packed_sequence).*",
        "packs sequences whose rows differ in length, which is not supported",
        "pad the rows to one length, and give the layer the tensor [batch, T, features]",
    ),
    (
        r".*(lstm|gru|rnn).*",
        "is a recurrent layer of a kind that is not supported",
        "use nn.LSTM, nn.GRU or nn.RNN on a tensor [batch, T, features], or their cells",
    ),
    (
        r".*deform_conv.*",
        "reads an image at offsets that are computed, which is not supported",
        "use a convolution with fixed taps: conv2d with a dilation, or several of these, added",
    ),
    (
        r".*roi_(align|pool).*|.*\bnms\b.*",
        "cuts regions out of an image, or chooses boxes, by numbers that are computed, which is "
        "not supported",
        "compile the network before it (the features), and one for regions of one size; cut the "
        "regions between the two predictions",
    ),
    (
        r".*grid_sampl.*|affine_grid.*|.*upsample.*",
        "samples an image at places that are computed, which is not supported",
        "resize by F.interpolate, or move elements by constant indices, or do it to the data "
        "before the network",
    ),
    (
        r".*fractional_max_pool.*",
        "pools over windows that are drawn at random, which is not supported",
        "use max pooling, or adaptive max pooling to the same size",
    ),
    (
        r".*lp_pool.*",
        "pools by a norm, which is not supported",
        "use average pooling of powers: F.avg_pool2d(x**2, 2).sqrt()",
    ),
    (
        r"sort.*|.*argsort.*|msort|topk|argmax|argmin|kthvalue|.*median|.*quantile|mode|aminmax"
        r"|searchsorted|bucketize|.*histc?|histogram.*|unique.*",
        "sorts or ranks activations, or gives their indices, which is not supported",
        "use max, min or amax over an axis, or rank after the prediction",
    ),
    (
        r".*fft.*|.*stft.*|.*complex.*|view_as_real.*|polar|real|imag|angle|conj.*|_conj.*",
        "computes with complex numbers or a Fourier transform, which is not supported",
        "do it to the data before the network, or write it as a linear layer with constant weights",
    ),
    (
        r".*cum(sum|prod|max|min).*|logcumsumexp|.*diff|.*trapz|.*trapezoid.*|cumulative.*",
        "runs along an axis step by step, which is not supported",
        "write a cumulative sum as a matmul with a constant triangular matrix of ones",
    ),
    (
        r"fill_?|fill_diagonal_?",
        "sets elements to a number in place, which is not supported",
        "multiply by a constant mask (register_buffer) for zeros, or use torch.cat",
    ),
    (
        r".*scatter.*|.*index_(put|add|copy|fill|reduce).*|put_?|masked_scatter.*|.*gather.*",
        "writes or reads at places that are computed, which is not supported",
        "use slices, concatenation, constant indices, or products with constant masks",
    ),
    (
        r".*embedding.*",
        "looks up a table in a way that is not supported",
        "use nn.Embedding on ids [batch, T], and sum or average what it reads",
    ),
    (
        r".*quantize.*|.*quantized.*|.*fake_quant.*|.*_observer.*|int_repr|q_scale|q_zero_point",
        "is quantised arithmetic",
        "compile the float network, as qbnnc quantises it (convert back with torch, "
        "or save the model before it was prepared)",
    ),
    (r"round.*|floor|ceil|trunc|fix|frac|fmod|remainder|floor_divide|.*special_round", *ROUNDING),
    (
        r".*bitwise.*|__(l|r|i)?shift__|.*_shift|gcd|lcm|_int_mm|__and__|__or__|__xor__",
        "is integer arithmetic, which is not supported",
        "compute with floats",
    ),
    (
        r"isnan|isinf|isfinite|isposinf|isneginf|is_nonzero|isclose|allclose|equal",
        "asks whether values are NaN, infinite or equal, which is not supported",
        "leave it out, as calibration rejects values that are not finite",
    ),
    (
        r".*(prod|nansum|nanmean|any|all|count_nonzero)",
        "reduces an axis in a way that is not supported",
        "use sum, mean, var, std, amax, amin or a norm",
    ),
    (
        r"(special_)?(log_ndtr|erfcx|i[01]e?|digamma|psi|gammaln|lgamma|ndtri|erfinv|polygamma"
        r"|multigammaln|zeta|bessel.*|modified_bessel.*|airy_ai|xlog1py|.*_polynomial_.)",
        "is a special function that is not supported",
        "use exp, log, powers, erf, sin, cos, tanh, their inverses, or a composition of these",
    ),
    (
        r"(rand|normal|bernoulli|poisson|exponential|cauchy|geometric|multinomial|binomial"
        r"|log_normal|_standard_gamma|_sample_dirichlet|rrelu|(feature_)?alpha_dropout).*",
        "draws random numbers that depend on the input, or have a distribution that is not known",
        "use dropout masks or Gaussian weights",
    ),
    (
        r"(linalg_)?_?(det|slogdet|logdet|inverse|inv|inv_ex|solve.*|cholesky.*|eig.*|svd.*|qr"
        r"|lu.*|matrix_exp|matrix_power|pinv.*|lstsq)",
        "is linear algebra on activations, which is not supported",
        "compute it from parameters only, or after the prediction",
    ),
)


def not_supported(name: str, plain: str) -> NotSupported:
    """The reason why the aten op `name`, which users know as `plain`, is not supported."""
    for pattern, message, remedy in _FAMILIES:
        if re.fullmatch(pattern, name):
            return NotSupported(f"{plain}: {message}", remedy)
    if "::" in name:
        return NotSupported(
            f"the op {plain!r} is not one of torch's own, and what it computes is unknown",
            "write it with torch functions",
        )
    return NotSupported(
        f"the op {plain!r} is not supported", f"replace it by one that is: {_USUAL}"
    )


def control_flow(name: str) -> NotSupported:
    """The reason why a higher order op (cond, while_loop, scan, map) is not supported."""
    return NotSupported(
        f"{name}: control flow that depends on tensors is not supported",
        "compute both branches and choose by torch.where, unroll loops, and branch in Python on "
        "what __init__ sets",
    )
