"""qbnnc warmup: compile the runtime's kernels for this machine ahead of the first prediction."""

from __future__ import annotations

import time

import click

from qbnnc.cli.common import quiet_option, verbose_option
from qbnnc.runtime.cache import was_cached, writable_folder
from qbnnc.runtime.isa import chosen


@click.command(name="warmup")
@quiet_option
@verbose_option
def command(quiet: bool, verbose: bool) -> int:
    """Compile the kernels, once for a machine and a version, and keep them.

    They are kept in $QBNNC_CACHE_DIR, or where the platform keeps caches; where nothing can be
    written, each process compiles them again.
    """
    start = time.perf_counter()
    found = was_cached()
    took = f"{time.perf_counter() - start:.1f} s"
    folder = writable_folder()
    if folder is None:
        text = f"compiled for {chosen().value} in {took}; not kept: no folder can be written to"
    else:
        done = "found" if found else "compiled"
        text = f"{done} for {chosen().value} in {took}, kept in {folder}"
    if not quiet:
        click.echo(text)
    return 0
