"""The class of all commands: its help has sections, and `--config` reads its options."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import click

from qbnnc.cli.config import read_config
from qbnnc.support.errors import UserError

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Network": (
        "model",
        "model_args",
        "dropout",
        "output_names",
        "member_axis",
        "task",
        "samples",
        "trust_pickle",
    ),
    "Data": (
        "calibration",
        "data",
        "ood",
        "train",
        "validation",
        "input_",
        "columns",
        "header",
        "golden",
        "target_mean",
        "target_std",
    ),
    "Bits": (
        "bits",
        "budget",
        "layers",
        "input_bits",
        "outer_bits",
        "residual_bits",
        "weights_bits",
        "activation_bits",
        "grid",
    ),
    "Quantisation": (
        "weights",
        "scales",
        "quantise_output",
        "mask_sharing",
        "observer",
        "stretch",
        "equalise",
        "calibration_passes",
        "calibration_seed",
        "rounding",
        "bias_correction",
    ),
    "Training": (
        "ptq",
        "qat",
        "loss",
        "steps",
        "epochs",
        "lr",
        "ranges",
        "train_sigma",
        "held_out",
        "resume",
        "device",
    ),
    "Checks": ("distribution_check", "no_distribution_check", "no_spread_check"),
    "Comparison with the module": (
        "source",
        "mean_shift",
        "deviation_ratio",
        "rank_loss",
        "divergence",
    ),
    "Large files": ("statistics_only", "quantiles", "chunk_size", "restart"),
    "C99": ("ram", "prefix", "blob", "cc", "run"),
    "ONNX": ("embedded_model", "batch", "inline", "engine", "threads"),
}
"""Titles of the help, and the parameters below each. All others stand first, under "Options"."""

_FEW = 12  # options that need no sections
_NEAR = 0.7  # alike enough to be meant


class Command(click.Command):
    """A command of qbnnc. It takes the options of a TOML file with --config.

    One that takes one value is given once: UserError, where click would take the last silently.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; refuse an option of one value that is there twice."""
        if not ctx.resilient_parsing:  # completion of a line that is being written
            self._check_once(ctx, list(args))
        return super().parse_args(ctx, args)

    def _check_once(self, ctx: click.Context, args: list[str]) -> None:
        try:
            _, _, order = self.make_parser(ctx).parse_args(args)
        except click.NoSuchOption as error:
            known = [flag for each in self.get_params(ctx) for flag in each.opts]
            near = difflib.get_close_matches(error.option_name, known, 3, _NEAR)
            raise click.NoSuchOption(error.option_name, possibilities=near, ctx=ctx) from None
        given = [each for each in order if isinstance(each, click.Option) and _takes_one(each)]
        for option in given:
            if given.count(option) > 1:
                flags = "/".join([*option.opts[-1:], *option.secondary_opts])
                raise UserError("is given twice, and takes one value", flags, "leave one out")

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the parameters, with --config before --help."""
        *own, shown = super().get_params(ctx)
        return [*own, _config_option(), shown]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, in sections where there are many."""
        records = {
            param.name: record
            for param in self.get_params(ctx)
            if isinstance(param, click.Option)
            and (record := param.get_help_record(ctx)) is not None
        }
        titled = {name for names in SECTIONS.values() for name in names}
        sections = {"Options": tuple(n for n in records if n not in titled), **SECTIONS}
        if len(records) <= _FEW:
            sections = {"Options": tuple(records)}
        for title, names in sections.items():
            if rows := [records[name] for name in records if name in names]:
                with formatter.section(title):
                    formatter.write_dl(rows)


def _takes_one(option: click.Option) -> bool:
    """Whether a second one would contradict the first: not for lists, nor for -v -v."""
    return not option.multiple and (not option.is_flag or bool(option.secondary_opts))


def _config_option() -> click.Option:
    return click.Option(
        ["--config"],
        metavar="FILE.toml",
        is_eager=True,
        expose_value=False,
        callback=_take_config,
        help="Take options from a table of this file; the command line wins.",
    )


def _take_config(ctx: click.Context, _: click.Parameter, path: str | None) -> None:
    """Make what the file says the defaults of this call."""
    if path is not None:
        ctx.default_map = read_config(path, ctx.command)
