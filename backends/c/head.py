"""The statistics of a model as C: one block of accumulators, added to sample by sample."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from qbnnc.ir.head import Head, Task, class_shape, is_binary
from qbnnc.ir.model import Model
from qbnnc.ir.outputs import Spread


@dataclass(frozen=True, slots=True)
class Statistics:
    """C texts.

    `fields` are the members of the prediction, (name, count). `accumulators` declares those of the
    state, in so many `bytes`. `begin` clears them, `add` adds sample number `s`, and `finish`
    divides by `samples`.
    """

    fields: tuple[tuple[str, int], ...]
    accumulators: str
    bytes: int
    begin: str
    add: str
    finish: str


def statistics(model: Model) -> Statistics:
    """Write the statistics that the model's head promises; one number is no array."""
    written = _statistics(model)
    finish = written.finish
    for name, count in written.fields:
        if count == 1:
            finish = finish.replace(f"out->{name}[i]", f"out->{name}")
    return replace(written, finish=finish)


def declared(name: str, count: int) -> str:
    """Declare a field of the prediction."""
    return f"  float {name};" if count == 1 else f"  float {name}[{count}];"


def _statistics(model: Model) -> Statistics:
    head, shapes = model.head, [v.type.shape for v in model.graph.outputs]
    names = head.statistic_names(len(shapes))
    if head.task is Task.CLASSIFICATION:
        return _classification(shapes[0])
    if head.task is Task.REGRESSION:
        return _regression(head, [prod(shape) for shape in shapes])
    sizes = [prod(shape) for shape in shapes]
    fields = tuple(zip(names, (size for size in sizes for _ in range(2)), strict=True))
    moments = list(zip(names[::2], names[1::2], strict=True))
    return Statistics(
        fields,
        "\n".join(f"    qb_moments moments{k}[{n}];" for k, n in enumerate(sizes)),
        24 * sum(sizes),
        "",
        "\n".join(_add_moments(k, n) for k, n in enumerate(sizes)),
        "\n".join(
            _loop(
                sizes[k],
                f"out->{mean}[i] = qb_narrow(qb_mean(&a->moments{k}[i], samples));",
                f"out->{variance}[i] = qb_narrow(qb_variance(&a->moments{k}[i], samples));",
            )
            for k, (mean, variance) in enumerate(moments)
        ),
    )


def _loop(count: int, *lines: str) -> str:
    body = "\n".join(f"    {line}" for line in lines)
    return f"  for (i = 0; i < {count}; i++) {{\n{body}\n  }}"


def _add_moments(number: int, count: int) -> str:
    return _loop(count, f"qb_moments_add(&a->moments{number}[i], st->out{number}[i], s);")


def _regression(head: Head, sizes: list[int]) -> Statistics:
    n = sizes[0]
    fields = [("mean", n), ("aleatoric", n), ("epistemic", n), ("variance", n)]
    finish = [
        "const double epistemic = qb_variance(&a->moments0[i], samples);",
        "out->mean[i] = qb_narrow(qb_mean(&a->moments0[i], samples));",
        "out->epistemic[i] = qb_narrow(epistemic);",
    ]
    if len(sizes) == 1:
        del fields[1]
        finish.append("out->variance[i] = qb_narrow(epistemic);")
        return Statistics(
            tuple(fields), f"    qb_moments moments0[{n}];", 24 * n, "", _add_moments(0, n),
            _loop(n, *finish),
        )  # fmt: skip
    value = "(double)st->out1[i]"
    formula = {
        Spread.LOG_VARIANCE: f"qb_exp({value})",
        Spread.VARIANCE: value,
        Spread.STD: f"{value} * {value}",
        Spread.LOG_STD: f"qb_exp(2.0 * {value})",
    }[head.spread]
    finish.insert(1, "const double aleatoric = a->aleatoric[i] / samples;")
    finish += [
        "out->aleatoric[i] = qb_narrow(aleatoric);",
        "out->variance[i] = qb_narrow(aleatoric + epistemic);",
    ]
    return Statistics(
        tuple(fields),
        f"    qb_moments moments0[{n}];\n    double aleatoric[{n}];",
        32 * n,
        _loop(n, "a->aleatoric[i] = 0.0;"),
        _add_moments(0, n) + "\n" + _loop(n, f"a->aleatoric[i] += {formula};"),
        _loop(n, *finish),
    )


def _classification(shape: tuple[int, ...]) -> Statistics:
    classes, *rest = class_shape(shape)
    places = prod(rest)
    fields = (
        ("probabilities", classes * places),
        ("entropy", places),
        ("mutual_information", places),
    )
    added = f"qb_softmax_add(st->out0 + i, {classes}, {places}, a->p + i, a->each)"
    if is_binary(shape):
        added = f"qb_sigmoid_add(st->out0[i], {places}, a->p + i)"
    finish = [
        "uint64_t entropy = 0;",
        "int32_t c;",
        f"for (c = 0; c < {classes}; c++) {{",
        f"  const uint64_t p = a->p[c * {places} + i];",
        f"  out->probabilities[c * {places} + i] = "
        "(float)((double)p / ((double)samples * 2147483648.0));",
        "  entropy += qb_surprise(p / samples);",
        "}",
        "out->entropy[i] = (float)((double)entropy / 4294967296.0);",
        "out->mutual_information[i] = "
        "(float)(((double)entropy - (double)a->inner[i] / samples) / 4294967296.0);",
    ]
    return Statistics(
        fields,
        f"    uint64_t p[{classes * places}], inner[{places}];\n    uint32_t each[{classes}];",
        8 * (classes * places + places) + 4 * classes,
        _loop(classes * places, "a->p[i] = 0;") + "\n" + _loop(places, "a->inner[i] = 0;"),
        _loop(places, f"a->inner[i] += {added};"),
        _loop(places, *finish),
    )
