"""The options of a command that measures rows, keeps them, and makes a page of them."""

from __future__ import annotations

import argparse
from pathlib import Path


def parsed_with_page_options(parser: argparse.ArgumentParser, *, quick: str) -> argparse.Namespace:
    """Parse the command line; the rows lie beside the page unless --results says otherwise.

    `quick` is the help of --quick.
    """
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--resume", action="store_true", help="measure only what is missing")
    parser.add_argument("--render", action="store_true", help="make the page of the kept rows")
    parser.add_argument("--results", type=Path, help="JSON lines; by default beside the page")
    parser.add_argument("-o", "--output", type=Path, help="a page with two marks for each table")
    options = parser.parse_args()
    options.results = options.results or (options.output and options.output.with_suffix(".jsonl"))
    return options
