"""`python -m qbnnc` is the command `qbnnc`.

This module imports nothing before it can answer Ctrl-C: the libraries take a second to load.
"""

import importlib
import sys

_INTERRUPTED = 130  # as shells have it: 128 and the number of SIGINT


def main() -> None:
    """Run the command `qbnnc`."""
    try:
        importlib.import_module("qbnnc.cli.main").main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
