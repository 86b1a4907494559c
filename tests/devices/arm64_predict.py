"""A program for an emulated Python, which has the runtime and neither torch nor pytest.

python arm64_predict.py FOLDER

It predicts with each model of the folder, NAME.qbnn, on the rows of NAME.npy. It writes the samples
of each form of masked layers to NAME-FORM-NUMBER.npy, by the number of the output. It prints the
machine and the instruction set, then a line for each form: NAME, FORM and the operations.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import numpy as np

from qbnnc.ir.format import load
from qbnnc.runtime.families.masked_layers.forms import MaskedForm
from qbnnc.runtime.isa import chosen
from qbnnc.runtime.session import Session

SAMPLES, SEED, FIRST_ROW = 12, 2**63 + 7, 3
FORMS = ("chosen", *(form.value for form in MaskedForm))


def main(folder: Path) -> None:
    """Predict with all models of the folder, in each form."""
    print(platform.machine(), chosen().value, flush=True)
    for file in sorted(folder.glob("*.qbnn")):
        model, rows = load(file), np.load(file.with_suffix(".npy"))
        for form in FORMS:
            masked = None if form == "chosen" else MaskedForm(form)
            session = Session(model, file, threads=1, masked=masked)
            made = session.predict(rows, SAMPLES, SEED, FIRST_ROW)
            for number, name in enumerate(model.head.sample_names(len(model.graph.outputs))):
                np.save(file.with_name(f"{file.stem}-{form}-{number}.npy"), made[name])
            operations = [row.kind for row in session.plan_summary().operations]
            print(file.stem, form, *operations, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
