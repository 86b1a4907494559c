"""The table of costs at the end of a .c, held against a compiler, and counted by hand."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from qbnnc.backends.c import Costs, Source, read_costs, to_c
from qbnnc.backends.c.scope import Form
from qbnnc.ir.graph import Graph
from qbnnc.ir.model import Model
from tests.backends.test_c import bayesian, compiled
from tests.graphs import lenet, mlp, resnet
from tests.strategies import random_integer_model

SIZES = {"int8_t": 1, "uint8_t": 1, "uint16_t": 2, "int32_t": 4, "uint32_t": 4, "int64_t": 8}
NETWORKS = [mlp, lenet, resnet, bayesian]


def table(source: Source) -> Costs:
    """The table as it is read from the text."""
    costs = read_costs(source.body)
    assert costs is not None
    assert costs == source.costs
    return costs


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
@pytest.mark.parametrize("seed", range(4))
def test_the_state_is_as_large_as_c_makes_it(tmp_path: Path, seed: int) -> None:
    """Ensembles and all tasks: the compiler's sizeof."""
    model = random_integer_model(
        seed, ops="all", classification=seed % 2 == 0, members=1 + seed // 2
    )
    source = to_c(model, "net")
    (tmp_path / "net.h").write_text(source.header)
    (tmp_path / "size.c").write_text(
        '#include "net.h"\n#include <stdio.h>\n'
        'int main(void) { printf("%d", (int)sizeof(net_state)); return 0; }\n'
    )
    subprocess.run(["gcc", "-o", "size", "size.c"], cwd=tmp_path, check=True)
    said = subprocess.run([tmp_path / "size"], capture_output=True, text=True, check=True).stdout
    state = table(source).state
    assert int(said) == state.total
    assert f"codes[{state.values}];" in source.header


@pytest.mark.parametrize("network", NETWORKS)
def test_constants_by_layer(network: Callable[[], Graph]) -> None:
    """All arrays of the text are counted, each once."""
    source = to_c(compiled(network(), "w8a7"), "net")
    arrays = re.findall(r"^QBNNC_DATA (\w+) (?:qb_data_\d+)\[(\d+)\]", source.body, re.MULTILINE)
    counted = sum((SIZES | {"float": 4})[ctype] * int(size) for ctype, size in arrays)
    assert sum(table(source).constants.values()) == counted == source.constants


@pytest.mark.parametrize("network", NETWORKS)
def test_buffers_fill_the_values(network: Callable[[], Graph]) -> None:
    costs = table(to_c(compiled(network(), "w8a7"), "net"))
    ends = [buffer.offset + buffer.nbytes for buffer in costs.buffers]
    assert costs.state.values - 3 <= max(ends) <= costs.state.values
    assert {buffer.use for buffer in costs.buffers} <= {"scratch", "value", "kept"}


@pytest.mark.parametrize("form", list(Form))
def test_products_by_form(form: Form) -> None:
    """A LeNet of 12x12 images: products are counted by hand, dropout takes a fifth."""
    model = compiled(lenet(), "w8a7")
    ram = {Form.CACHED: 10**7, Form.SUBTRACT: None, Form.DIRECT: least(model)}[form]
    costs = table(to_c(model, "net", ram))
    products = {
        "conv1": 6 * 10 * 10 * 9,
        "conv2": 10 * 3 * 3 * 6 * 9,
        "fc1": 20 * 10,
        "fc2": 5 * 20,
    }
    forms = {c.layer.split(".")[0]: c for c in costs.layers}
    assert set(forms) == set(products)
    for name, cost in forms.items():
        total = products[name]
        if name == "conv1":
            assert (cost.row, cost.sample) == (total, 0)
        elif cost.form == "direct":
            assert (cost.row, cost.sample) == (0, total)
        elif cost.form == "cached":
            assert (cost.row, cost.sample) == (total, 0)
        else:
            assert (cost.row, cost.sample) == (total, round(0.2 * total))
    assert forms["conv2"].form == form.value


def least(model: Model) -> int:
    """Memory that only the forms without sums fit into."""
    return to_c(model, "net").memory - 1


def test_a_name_cannot_end_the_comment() -> None:
    source = to_c(compiled(mlp(), "w8a7"), "net")
    odd = replace(source.costs, constants={'a*/ "b" \n': 3})
    assert odd.text.count("*/") == 1
    assert read_costs(odd.text) == odd


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"version": 1', '"version": 2'),
        ('"samples": ', '"other": '),
        ('"buffers": [', '"buffers": [3, '),
        ("/* Costs, for", "/* Cost, for"),
        ('"prefix": ', '"prefix" '),
    ],
)
def test_a_damaged_table_is_none(old: str, new: str) -> None:
    text = to_c(compiled(mlp(), "w8a7"), "net").body
    assert old in text
    assert read_costs(text.replace(old, new)) is None
