"""Train the float networks of the study (Ferianc et al. 2021, section 4) that are missing.

    python -m qbnnc.study.paper.train_networks DATA OUT [--networks lenet ...] [--methods mcd ...]
        [--folds 10] [--scale 1]

DATA holds fmnist_train12k.npz, fmnist_test.npz, mnist5k.npz (X uint8, y) and
{boston,concrete}_split.npz (see training/datasets.py). OUT gets two files for each network:

- `lenet_METHOD.pt` or `TABLE_METHOD_foldK.pt`: the state_dict of a network in tools/models, or a
  list of 20 for SGHMC;
- `lenet.npz` or `TABLE_foldK.npz`: its rows x_train, y_train, x_test, y_test as the network sees
  them, y_mean and y_std of a table, and the out-of-distribution images `ood`.

Files that exist are skipped: use one OUT for one --scale.

The paper's recipes are scaled to about twenty minutes on one core. LeNet-5 has its biases and no
padding. It learns from 12,000 images of FashionMNIST instead of 60,000 of MNIST, which gives the
out-of-distribution data. An epoch is one pass over the 12,000; the paper has 100 epochs for LeNet-5
and 300 for tables.

    LeNet-5                     scaled to                               paper
    pointwise   15 epochs, batch 256, rate 1e-3, decay 1e-4             100 epochs
    MC dropout  30 epochs, batch 128, rate 1e-3, decay 1e-5, p .2       100 epochs
    BBB         25 epochs, batch 128, rate 1e-3, prior .1, KL x 1       batch 256, KL x .1
    SGHMC       20 + 20*2 epochs, batch 128, l = 1e-4                   burn-in 20 of 100, batch 256

    MLP 3x100, ten folds
    pointwise   100 epochs, batch 128, rate 1e-3, decay 1e-3            300 epochs, batch 1000, 5e-5
    MC dropout  300 epochs, batch 128, rate 1e-3, decay 5e-5, p .1      batch 1000, p .2
    BBB         300 epochs, batch 128, rate 3e-3, prior 1, KL x .1      batch 1000, 1e-2, KL x 1
    SGHMC       300 + 20*15 epochs, batch 128, l = 5e-5                 burn-in 200 of 300

All but SGHMC use Adam, with a rate that falls to zero along half a cosine; decay is an L2 penalty.
BBB starts with sigma .01 (LeNet-5) or .05. KL x 1 is the evidence lower bound of the rows. On a
table it leaves the mean-field MLP at an RMSE of .5, so .1 is used. SGHMC has another form than the
paper's code (training/sghmc.py): a rate l with a mass for each tensor, friction .05, temperature 1.
It draws momentum again every 50 steps, and precisions of the priors every 15. The pointwise MLP
stops early because its likelihood, with a variance of its own for each row, overfits.
The rates were chosen by the figures of four or five folds, and of the first 4000 test images.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from qbnnc.study.paper.training.jobs import NETWORKS, jobs, run
from qbnnc.study.paper.training.recipes import METHODS
from qbnnc.support.errors import FileError, UserError


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder of the data")
    parser.add_argument("out", type=Path, help="folder of the networks; made if missing")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--folds", type=folds, default=10, help="folds of the tables (10)")
    parser.add_argument("--scale", type=factor, default=1.0, help="factor of the epochs (1)")
    return parser.parse_args()


def folds(text: str) -> int:
    """A number of folds: at least 2, so that each has rows to train with."""
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 2")
    return int(text)


def factor(text: str) -> float:
    """A factor above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return value


def main() -> int:
    """Train and print a line for each network; exit code 2 for errors that the user can mend."""
    given = options()
    torch.set_num_threads(1)
    try:
        make_folder(given.out)
        for job in jobs(given.networks, given.methods, given.folds):
            print(run(job, given.data, given.out, given.scale), flush=True)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def make_folder(path: Path) -> None:
    """Make a folder; FileError if that fails."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise FileError(f"cannot be made ({reason})", path, "give a folder of yours") from error


if __name__ == "__main__":
    sys.exit(main())
