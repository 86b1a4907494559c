"""The target `npz`: .npy and .npz files as `qbnnc run --input FILE[:KEY]` reads them."""

from __future__ import annotations

import io
import re
from random import Random

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.oracle import oracle_samples
from qbnnc.loading.arrays import read_array
from qbnnc.runtime.session import Session
from qbnnc.support.errors import UserError
from tests.fuzz import zips
from tests.fuzz.folder import new_folder
from tests.fuzz.models import same
from tests.fuzz.trees import flipped
from tests.fuzz.verdict import Kind, Verdict, WrongAnswer
from tests.runtime import nets

_MAGIC = b"\x93NUMPY"
_DTYPES = "f4 f4 f4 f8 f2 i1 u1 i2 i4 u8 ? c8 c16 S3 U2 O M8[s] m8[D] V4 f4,i4 >f4 >i8 <f8".split()
_SHAPES = (
    *("()", "(0,)", "(-1, 10)", "(10,)", "(3, 10, 1)", "(1000000000000, 10)", "(3,)", "[3, 10]"),
    *(
        "(3.0, 10)",
        "(True, 10)",
        "(2**62, 10)",
        "3, 10",
        "(9223372036854775807,)",
        "None",
        "(",
        "x",
    ),
    *("(18446744073709551616, 10)", "(4294967296, 4294967296, 10)", f"({'3,' * 70})", "(0, 10)"),
)
_DESCRS = (
    *(
        "'<f8'",
        "'O'",
        "'|O'",
        "'<U100000000'",
        "'|V0'",
        "''",
        "'<f3'",
        "'f4'",
        "None",
        "4",
        "'>f4'",
    ),
    *("[('a', '<f4')]", "[('a', '<f4', (1000000, 1000000))]", "[]", "('<f4', (10,))", "'<M8[ns]'"),
    *("{'names': ['a'], 'formats': ['<f4'], 'offsets': [9999999999]}", "'|S2147483647'", "'c16'"),
)


def open_target() -> ArrayTarget:
    """With a network to give the arrays to."""
    return ArrayTarget()


class ArrayTarget:
    """Array files; the rows are given to a network of 10 features."""

    suffix = ".npz"

    def __init__(self) -> None:
        self.path = new_folder() / "input.npz"
        self.model = nets.mlp()
        self.session = Session(self.model, threads=1)
        for key, data in (("", npy(np.ones((3, 10), "f4"))), (":x", self.archive(Random(0)))):
            if self.predicted(data, key).kind is not Kind.RAN:
                raise WrongAnswer("an honest file")

    def archive(self, rng: Random) -> bytes:
        """An honest .npz of one array or several."""
        buffer = io.BytesIO()
        arrays = {name: self.array(rng, "f4") for name in rng.choice((["x"], ["x", "y"]))}
        save = np.savez if rng.random() < 0.5 else np.savez_compressed
        save(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()

    def array(self, rng: Random, dtype: str | None = None) -> NDArray[np.generic]:
        """Rows for the network, or an array that is none."""
        chosen = np.dtype(rng.choice(_DTYPES) if dtype is None else dtype)
        shape = (
            (3, 10) if dtype or rng.random() < 0.6 else rng.choice(((3,), (), (0, 10), (2, 3, 4)))
        )
        numbers = np.random.default_rng(rng.randrange(2**31)).normal(0, 1, shape)
        made = numbers.astype(np.float32).astype("f4")
        if chosen.kind in "fiubc":
            with np.errstate(all="ignore"):
                made = (made * 5).astype(chosen)
        elif chosen.kind == "O":
            return np.full(shape, None)
        else:
            return np.zeros(shape, chosen)
        if made.size and rng.random() < 0.1 and chosen.kind == "f":
            made.flat[0] = rng.choice((np.nan, np.inf, -np.inf))
        return np.asfortranarray(made) if rng.random() < 0.2 else made

    def make(self, rng: Random) -> bytes:
        """A .npy or .npz file whose header, array or archive is not as it should be."""
        kind = rng.random()
        if kind < 0.1:
            return flipped(rng, self.archive(rng))
        one = npy(self.array(rng))
        if kind < 0.55:
            one = with_header(rng, one)
        if kind < 0.65:
            one = flipped(rng, one)
        if rng.random() < 0.5:
            return one
        members = [("x.npy", one), ("y.npy", npy(self.array(rng, "f4")))][: rng.choice((1, 1, 2))]
        return zips.mutated(rng, members) if rng.random() < 0.7 else zips.written(members)

    def attempt(self, data: bytes) -> Verdict:
        """Read the array that the file holds, and predict with it."""
        return self.predicted(data, Random(data).choice(("", "", ":x", ":x", ":y", ":")))

    def predicted(self, data: bytes, key: str) -> Verdict:
        """The verdict on FILE:KEY."""
        self.path.write_bytes(data)
        array = read_array(f"{self.path}{key}")
        try:
            made = self.session.predict(array, samples=2)
        except UserError as error:
            return Verdict(Kind.PASSED, str(error)[:300])
        with np.errstate(all="ignore"):
            x = np.asarray(array).astype(np.float32)
        want = oracle_samples(self.model, x, samples=2)
        for name, expected in zip(self.model.head.sample_names(2), want, strict=True):
            if not same(made[name], expected):
                raise WrongAnswer(f"{name} of {array.dtype}{list(array.shape)}")
        return Verdict(Kind.RAN)


def npy(array: NDArray[np.generic]) -> bytes:
    """The array as a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def with_header(rng: Random, data: bytes) -> bytes:
    """Another shape, element type or order in the header, of whatever length that then is."""
    start, size = len(_MAGIC) + 4, int.from_bytes(data[8:10], "little")
    header, rest = data[start : start + size].decode("latin-1"), data[start + size :]
    kind = rng.randrange(6)
    if kind == 0:
        header = re.sub(r"'shape': \([^)]*\)", f"'shape': {rng.choice(_SHAPES)}", header)
    elif kind == 1:
        header = re.sub(r"'descr': [^,]*,", f"'descr': {rng.choice(_DESCRS)},", header)
    elif kind == 2:
        header = header.replace("False", rng.choice(("True", "1", "None", "2**9**9", "x")))
    elif kind == 3:
        header = rng.choice(("", "{}", "{" * 300, "[" * 3000, "__import__('os')", "0", "é", "\x00"))
    elif kind == 4:
        header = header.replace("'descr'", rng.choice(("'x'", "'descr': 1, 'descr'", "descr")))
    version = (1, 0) if kind != 5 else (rng.choice((0, 1, 2, 3, 4, 255)), rng.choice((0, 1)))
    wide = version[0] in (2, 3) and rng.random() < 0.8
    coded = header.encode("utf-8")
    size = len(coded) if rng.random() < 0.9 else rng.choice((0, 1, 65535, 2**31 - 1))
    length = (size % 2**32).to_bytes(4, "little") if wide else (size % 2**16).to_bytes(2, "little")
    return _MAGIC + bytes(version) + length + coded + rest
