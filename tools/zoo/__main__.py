"""Measure the zoo, and write the page of its table.

python -m tools.zoo [--results FILE] [--output PAGE] [--only NAME ...] [--render]

Rows that RESULTS holds are not measured again: remove the file to measure all. It lies beside the
page, docs/reference/networks.jsonl.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from tools.zoo.measuring import kept, measure_all
from tools.zoo.page import page
from tools.zoo.registry import NETWORKS


def main() -> None:
    """Measure what is wanted and not yet kept; write the page of all kept rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=Path("docs/reference/networks.jsonl"))
    parser.add_argument("--output", type=Path, help="the page to write")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--render", action="store_true", help="measure nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.results.parent.mkdir(parents=True, exist_ok=True)
    wanted = tuple(net for net in NETWORKS if not options.only or net.name in options.only)
    for row in measure_all(() if options.render else wanted, options.results):
        print(row, flush=True)
    if options.output is not None:
        options.output.write_text(page(kept(options.results)), encoding="utf-8")


if __name__ == "__main__":
    main()
