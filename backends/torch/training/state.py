"""The state of an interrupted fine-tuning, from which it can go on."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import torch

from qbnnc.ir import format
from qbnnc.ir.model import Model
from qbnnc.support.errors import FileError
from qbnnc.support.files import read_bytes, write_atomically

_VERSION = 3


@dataclass(frozen=True, slots=True, eq=False)
class TuningState:
    """`best` holds the best of every member so far; `member` is the one that was at work.

    `work` is the state of its MemberTuning.
    """

    digest: str
    best: Model
    member: int
    work: dict[str, object]

    def save(self, path: Path) -> None:
        """Write the file whole, or not at all."""
        buffer = io.BytesIO()
        kept = {
            "version": _VERSION,
            "digest": self.digest,
            # A tensor: pickled as bytes it would take five times as long to write.
            "best": torch.frombuffer(bytearray(format.to_bytes(self.best)), dtype=torch.uint8),
            "member": self.member,
            "work": self.work,
        }
        torch.save(kept, buffer)
        write_atomically(path, buffer.getvalue())

    @staticmethod
    def load(path: Path, digest: str) -> TuningState:
        """Read a file; FileError if it is damaged, or of another network, data or options."""
        try:
            kept = torch.load(io.BytesIO(read_bytes(path)), weights_only=True)
            if kept["version"] != _VERSION:
                raise KeyError("version")
            state = TuningState(
                kept["digest"],
                format.from_bytes(kept["best"].numpy().tobytes(), path),
                kept["member"],
                kept["work"],
            )
        except Exception:  # a damaged pickle makes the reader raise anything
            raise FileError(
                "no state of an interrupted fine-tuning", path, remedy="delete it"
            ) from None
        if state.digest != digest:
            raise FileError(
                "belongs to a fine-tuning of another network, or with other data or options",
                path,
                remedy="delete it, or give what was given then",
            )
        return state
