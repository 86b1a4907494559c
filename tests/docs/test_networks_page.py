"""The page of networks has the rows that were measured, and no others."""

from __future__ import annotations

import re
from pathlib import Path

from tools.zoo.measuring import kept
from tools.zoo.page import page
from tools.zoo.registry import NETWORKS

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"


def test_the_page_is_made_of_the_rows() -> None:
    rows = kept(REFERENCE / "networks.jsonl")
    assert rows.keys() <= {network.name for network in NETWORKS}
    found = (REFERENCE / "networks.md").read_text(encoding="utf-8")
    made, kept_page = (
        re.sub(r"Measured on .*?, one\s+thread\.", "", text, flags=re.DOTALL)
        for text in (page(rows), found)
    )
    assert made == kept_page


def test_a_row_of_each_kind() -> None:
    rows = kept(REFERENCE / "networks.jsonl")
    text = page({name: rows[name] for name in ("BERT", "Deep ensemble")})
    bert = next(line for line in text.splitlines() if line.startswith("| BERT |"))
    assert "Devlin et al. 2019" in bert
    assert bert.count(" % |") == 3
    ensemble = next(line for line in text.splitlines() if line.startswith("| Deep ensemble |"))
    assert "| 5 members | 7 370 |" in ensemble
    assert " % |" not in ensemble
    assert "- Lakshminarayanan et al. (2017). Simple and scalable" in text
