"""Show predictions with their uncertainty: a few garments, and digits the network never saw.

    python tools/demo/show.py build/fashion.npz build/ood.npz

The two files are what `qbnnc run` wrote for `fashion.npz:x` and `fashion.npz:ood`.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
GARMENTS, DIGITS = (0, 1, 4, 8), (0, 1, 2, 3)  # rows shown as pictures
WIDTH, HEIGHT, GAP = 18, 9, "  "
SHADES = np.array(list(" .:-=+*#%@"))

Floats = npt.NDArray[np.floating]


class Prediction(NamedTuple):
    """The network's answers for N images.

    Fields:
        probabilities: (N, 10), the mean over the Monte-Carlo samples.
        entropy: (N,), nats: how unsure the network is, for whatever reason.
        mutual_information: (N,), nats: the part of it that the samples disagree about.
    """

    probabilities: Floats
    entropy: Floats
    mutual_information: Floats


def read(file: Path) -> Prediction:
    """Read what `qbnnc run -o FILE` wrote."""
    with np.load(file) as archive:
        return Prediction(*(archive[name] for name in Prediction._fields))


def picture(image: npt.NDArray[np.uint8]) -> list[str]:
    """HEIGHT lines of WIDTH characters for an image of (28, 28) uint8."""
    rows = np.linspace(1, 26, HEIGHT).round().astype(int)
    columns = np.linspace(1, 26, WIDTH).round().astype(int)
    shades = image[np.ix_(rows, columns)].astype(int) * (len(SHADES) - 1) // 255
    return ["".join(SHADES[row]) for row in shades]


def caption(prediction: Prediction, i: int) -> list[str]:
    """Three lines for image i."""
    p = prediction.probabilities[i]
    return [
        f"{CLASSES[p.argmax()]:<12}{p.max():>6.0%}",
        f"entropy     {prediction.entropy[i]:6.3f}",
        f"mutual inf. {prediction.mutual_information[i]:6.3f}",
    ]


def side_by_side(blocks: list[list[str]]) -> str:
    """Join blocks of equally many lines into one picture."""
    rows = zip(*blocks, strict=True)
    return "\n".join(GAP.join(line.ljust(WIDTH) for line in row).rstrip() for row in rows)


def show(
    title: str, images: npt.NDArray[np.uint8], prediction: Prediction, rows: tuple[int, ...]
) -> None:
    """Print some images (N, 1, 28, 28) with their captions, and the mean over all of them."""
    print(f"\n{title}\n")
    print(side_by_side([[*picture(images[i, 0]), "", *caption(prediction, i)] for i in rows]))
    print(
        f"\nmean of {len(images)} images: entropy {prediction.entropy.mean():.3f} nats, "
        f"mutual information {prediction.mutual_information.mean():.3f} nats"
    )


def main(garments_file: str, digits_file: str) -> None:
    """Print both groups, and the error on the one that has labels."""
    garments, digits = read(Path(garments_file)), read(Path(digits_file))
    with np.load(Path(__file__).with_name("fashion.npz")) as data:
        show("In domain: garments (FashionMNIST)", data["x"], garments, GARMENTS)
        error = (garments.probabilities.argmax(1) != data["y"]).mean()
        print(f"wrong: {error:.1%}")
        show("Out of domain: digits (MNIST), never seen in training", data["ood"], digits, DIGITS)


if __name__ == "__main__":
    main(*sys.argv[1:])
