"""Options about data, metrics and training."""

from __future__ import annotations

import click

from qbnnc.cli.common import Option, options, per_input
from qbnnc.ir.head import Task


def _samples(default: str) -> Option:
    return click.option(
        "--samples",
        type=click.IntRange(min=1),
        metavar="L",
        help=f"Draw so many samples of what is random.  [default: {default}]",
    )


samples_option = _samples("as compiled")
"""--samples L."""

compiled_samples_option = _samples("20")
"""--samples L of a network that is compiled here."""

calibration_option = click.option(
    "--calib",
    "calibration",
    multiple=True,
    callback=per_input,
    metavar="[NAME=]FILE[:KEY]",
    help="Calibrate with typical inputs [batch, ...]: 100 rows or more, of which 512 are used. "
    "For several inputs repeat it with their names, or give FILE.npz:NAME,NAME.",
)
"""--calib FILE[:KEY]."""

labelled_data_option = click.option(
    "--data",
    required=True,
    metavar="FILE.npz[:X,Y]",
    help="Measure on inputs [N, ...], taken as they are, with labels 0..K-1 or "
    "targets.  [default keys: x,y]",
)
"""--data FILE.npz[:X,Y]."""

ood_option = click.option(
    "--ood",
    metavar="FILE[:KEY]",
    help="Measure the uncertainty on these out-of-distribution inputs too.",
)
"""--ood FILE[:KEY]."""

metric_options = options(
    click.option(
        "--task",
        type=click.Choice([Task.CLASSIFICATION.value, Task.REGRESSION.value]),
        help="The task decides the metrics.  [default: as the networks say]",
    ),
    click.option(
        "--target-mean",
        type=float,
        metavar="X",
        default=0.0,
        show_default=True,
        help="The mean that was subtracted from the targets of a regression.",
    ),
    click.option(
        "--target-std",
        type=float,
        metavar="X",
        default=1.0,
        show_default=True,
        help="The standard deviation that targets were divided by; metrics are in their units.",
    ),
)
"""--task, --target-mean, --target-std: what decides the metrics."""

seeds_option = click.option(
    "--seed",
    "seeds",
    type=int,
    metavar="N",
    multiple=True,
    default=(0,),
    help="Metrics are means over the seeds; repeat for several.  [default: 0]",
)
"""--seed, once or several times."""

training_options = options(
    click.option(
        "--loss",
        type=click.Choice(["match", "cross-entropy", "mse", "gaussian-nll"]),
        default="match",
        show_default=True,
        help="Minimise this loss. match needs no labels: it compares with the float "
        "network under the same random numbers, by KL divergence with --task "
        "classification or for (mu, log variance), else by squared error.",
    ),
    click.option(
        "--steps",
        type=click.IntRange(min=1),
        metavar="N",
        help="Train each member for so many steps.  [default: 3 epochs, but 1000 at least]",
    ),
    click.option(
        "--epochs", type=float, metavar="X", help="Train each member for so many epochs instead."
    ),
    click.option(
        "--lr",
        type=float,
        metavar="X",
        help="Begin Adam with this learning rate, which falls to 0.  [default: the best of "
        "several, each tried for a quarter of the steps]",
    ),
    click.option(
        "--batch-size",
        type=click.IntRange(min=1),
        metavar="N",
        default=64,
        show_default=True,
        help="Train with batches of so many rows.",
    ),
    click.option(
        "--seed",
        type=click.IntRange(min=0),
        metavar="N",
        default=0,
        show_default=True,
        help="Shuffle and draw by this seed.",
    ),
    click.option(
        "--ranges",
        type=click.Choice(["learned", "ema"]),
        default="learned",
        show_default=True,
        help="Move ranges by gradient, or as a moving average.",
    ),
    click.option(
        "--train-sigma", is_flag=True, help="Train sigma of sampled weights too, not only mu."
    ),
    click.option(
        "--held-out",
        type=float,
        metavar="X",
        default=0.1,
        show_default=True,
        help="Hold out this part of the rows, 512 at most, to choose by.",
    ),
)
"""The options of a fine-tuning, from --loss to --held-out."""
