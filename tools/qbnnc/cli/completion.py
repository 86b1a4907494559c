"""qbnnc completion: a script that completes commands and options in a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from qbnnc.cli.command import Command

_HOW = {
    "bash": 'eval "$(qbnnc completion bash)" in ~/.bashrc',
    "zsh": 'eval "$(qbnnc completion zsh)" in ~/.zshrc',
    "fish": "qbnnc completion fish > ~/.config/fish/completions/qbnnc.fish",
}


@click.command(
    name="completion",
    cls=Command,
    short_help="Print a script that completes commands in a shell.",
    epilog="\b\n" + "\n".join(f"{shell}: {how}" for shell, how in _HOW.items()),
)
@click.argument("shell", type=click.Choice(list(_HOW)))
def command(shell: str) -> int:
    """Print a script with which SHELL completes commands, options and files."""
    root = click.get_current_context().find_root()
    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(root.command, {}, "qbnnc", "_QBNNC_COMPLETE").source())
    return 0
