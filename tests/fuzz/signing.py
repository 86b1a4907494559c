"""Files in the format of `qbnnc.ir.format`, with a true SHA-256 whatever they hold.

Written from the format's description, not with its functions: those would refuse half of it.
"""

from __future__ import annotations

import base64
import bz2
import copy
import hashlib
import json
import re
from dataclasses import dataclass

import numpy as np
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from qbnnc.ir.types import Array
from tests.fuzz.trees import RAW, Tree

_STANDS_FOR = re.compile(f'"{re.escape(json.dumps(RAW)[1:-1])}([^"]*)"')


@dataclass
class Parts:
    """A file taken apart: all may be changed. `tensors` are under every name, also shared ones."""

    version: Tree
    model: Tree
    shared: Tree
    tensors: dict[str, Array]

    @staticmethod
    def of(data: bytes) -> Parts:
        """Read the parts of an honest file; tensors are sorted, as safetensors gives any order."""
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        ours = json.loads(_plain(header["__metadata__"]["qbnnc"]))
        stored = {name: array.copy() for name, array in sorted(load_tensors(data).items())}
        shared = ours.get("shared", {})
        owned = {name: stored[owner] for name, owner in shared.items()}
        return Parts(ours["version"], ours["model"], shared, stored | owned)

    def copy(self) -> Parts:
        """One that can be changed on its own; arrays are replaced, never written to."""
        records = copy.deepcopy((self.version, self.model, self.shared))
        return Parts(*records, dict(self.tensors))


def _plain(text: str) -> bytes:
    """The text of the header, which is packed if it is long."""
    if not text.startswith("bz2:"):
        return text.encode()
    return bz2.decompress(base64.b64decode(text.removeprefix("bz2:"), validate=True))


def signed(parts: Parts) -> bytes:
    """The file of these parts."""
    shared = parts.shared if isinstance(parts.shared, dict) else {}
    stored = {n: np.ascontiguousarray(a) for n, a in parts.tensors.items() if n not in shared}
    header = {
        "version": parts.version,
        "sha256": _sha256(parts),
        "model": parts.model,
        "shared": parts.shared,
    }
    return save_tensors(stored, metadata={"qbnnc": text(header)})


def text(value: Tree) -> str:
    """Canonical JSON, in which text that stands for a number is that number."""
    made = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return _STANDS_FOR.sub(r"\1", made)


def _sha256(parts: Parts) -> str:
    if parts.version == 1:
        return _of_version_1(parts)
    hash = hashlib.sha256(text({"version": parts.version, "model": parts.model}).encode())
    hash.update(text({name: _key(array) for name, array in parts.tensors.items()}).encode())
    return hash.hexdigest()


def _of_version_1(parts: Parts) -> str:
    hash = hashlib.sha256(text({"version": 1, "model": parts.model}).encode())
    for name, array in sorted(parts.tensors.items()):
        hash.update(text([name, array.dtype.str, list(array.shape)]).encode())
        hash.update(array.tobytes())
    return hash.hexdigest()


def _key(array: Array) -> str:
    return hashlib.sha256(
        f"{array.dtype.str}{list(array.shape)}".encode() + array.tobytes()
    ).hexdigest()
