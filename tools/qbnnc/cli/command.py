"""The class of all commands: its help has sections, and `--config` reads its options."""

from __future__ import annotations

from collections.abc import Mapping

import click

from qbnnc.cli.config import read_config

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Network": (
        "model",
        "model_args",
        "dropout",
        "output_names",
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


class Command(click.Command):
    """A command of qbnnc. It takes the options of a TOML file with --config."""

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
