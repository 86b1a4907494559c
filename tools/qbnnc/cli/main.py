"""The command `qbnnc`: one file a command.

Exit code 0, 1 (differs, or nothing came of it), 2 (user error) or 130 (interrupted).
"""

from __future__ import annotations

import difflib
import errno
import importlib
import sys
import traceback

import click

from qbnnc.cli.common import INTERRUPTED, say
from qbnnc.cli.flags import in_flags
from qbnnc.cli.progress import shown_log
from qbnnc.cli.versions import version_option
from qbnnc.support.errors import UserError

COMMANDS = (
    "compile",
    "finetune",
    "run",
    "verify",
    "golden",
    "evaluate",
    "sweep",
    "report",
    "sensitivity",
    "inspect",
    "bench",
    "warmup",
    "completion",
)

_FULL = "cannot be written (no space left on device); make room, or print elsewhere"


class LazyGroup(click.Group):
    """A group that imports a command only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            near = difflib.get_close_matches(cmd_name, COMMANDS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(COMMANDS)}"
            ctx.fail(f"No such command {cmd_name!r}: {hint}")
        command = importlib.import_module(f"qbnnc.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Errors name options by their flags.

        Ctrl-C is one line; click would put an empty one before it.
        """
        try:
            return super().invoke(ctx)
        except UserError as error:
            raise in_flags(error, ctx) from None
        except KeyboardInterrupt:
            click.echo("\n" * sys.stderr.isatty() + "interrupted", err=True)
            return INTERRUPTED


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80}
)
@version_option
def cli() -> None:
    """Compile trained Bayesian neural networks to integers, with their uncertainty intact.

    \b
    qbnnc compile model.pt -o model.onnx -o model.qbnn --bits w8a7
    qbnnc verify model.onnx model.qbnn --input x.npz:x
    qbnnc run model.qbnn --input x.npz:x -o prediction.npz
    """


def main() -> None:
    """Run the command; a mistake of the user's is one sentence on stderr and exit code 2."""
    try:
        with shown_log():
            code = cli(prog_name="qbnnc", standalone_mode=False)
    except UserError as error:
        code = _fail(str(error))
    except click.exceptions.Abort:
        code = INTERRUPTED
    except click.UsageError as error:
        error.show()
        code = 2
    except click.ClickException as error:
        code = _fail(error.format_message())
    except BrokenPipeError:
        code = 0
    except OSError as error:
        # Files are written elsewhere, where errors have their names: this is what is printed.
        full = error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT)
        code = _fail(f"stdout: {_FULL}" if full else _internal(error))
    except Exception as error:
        code = _fail(_internal(error))
    sys.exit(code)


def _internal(error: Exception) -> str:
    """The message for a fault of ours, whose traceback only -v shows."""
    if "-v" in sys.argv or "--verbose" in sys.argv:
        traceback.print_exception(error)
    return (
        f"internal error ({type(error).__name__}: {error}); this is a bug in qbnnc: run again "
        "with -v for the traceback and report it"
    )


def _fail(message: str) -> int:
    say(f"Error: {message}")
    return 2
