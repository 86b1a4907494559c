"""qbnnc warmup: compile the runtime's kernels for this machine ahead of the first prediction."""

from __future__ import annotations

import time

import click

from qbnnc.cli.command import Command
from qbnnc.cli.shared_options import quiet_option, verbose_option
from qbnnc.runtime.cache import kernels
from qbnnc.runtime.cache_folder import store
from qbnnc.runtime.isa import chosen
from qbnnc.support.text import counted, fold


@click.command(name="warmup", cls=Command, short_help="Compile the kernels, once for a version.")
@quiet_option
@verbose_option
def command(quiet: bool, verbose: bool) -> int:
    """Compile the kernels, once for a machine and a version, and keep them.

    They are kept in $QBNNC_CACHE_DIR, or where the platform keeps caches: in a folder of this user
    that no other can write to. Where there is none, each process compiles them again. An
    interrupted warmup goes on with the kernel where it was.
    """
    start = time.perf_counter()
    compiled = kernels().compiled
    took = f"{time.perf_counter() - start:.1f} s"
    done = f"compiled {counted(compiled, 'kernel')}" if compiled else "found all kernels"
    kept = store()
    place = "not kept" if kept.fault else f"kept in {kept.folder}"
    if not quiet:
        click.echo(fold(f"{done} for {chosen().value} in {took}, {place}"))
    return 0
