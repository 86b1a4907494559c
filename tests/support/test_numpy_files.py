"""Arrays from files that anybody may have written: read as numpy reads them, or refused."""

from __future__ import annotations

import contextlib
import io
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from qbnnc.loading.arrays import read_array
from qbnnc.support import numpy_files
from qbnnc.support.errors import FileError
from tests.commands import Runner
from tests.examples import examples

Array = NDArray[np.generic]
NUMBERS = (
    arrays.boolean_dtypes()
    | arrays.integer_dtypes(endianness="?")
    | arrays.unsigned_integer_dtypes(endianness="?")
    | arrays.floating_dtypes(endianness="?")
    | arrays.complex_number_dtypes(endianness="?")
)


def npy(array: Array, *, pickled: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=pickled)
    return buffer.getvalue()


def header(text: str, data: bytes = b"", version: int = 1) -> bytes:
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text.encode("latin1") + data


def of_shape(shape: str, data: bytes = b"", descr: str = "'<f4'", order: str = "False") -> bytes:
    return header(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n", data)


def npz(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return path


@examples(200)
@given(array=arrays.arrays(NUMBERS, arrays.array_shapes(min_dims=0, min_side=0)), data=st.data())
def test_numbers_are_read_as_numpy_reads_them(
    tmp_path_factory: pytest.TempPathFactory, array: Array, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp()
    array = np.asfortranarray(array) if data.draw(st.booleans()) else array
    np.save(folder / "a.npy", array)
    np.savez(folder / "b.npz", a=array)
    np.savez_compressed(folder / "c.npz", a=array, other=np.zeros(3))
    for spec in ("a.npy", "b.npz", "c.npz:a"):
        found = read_array(str(folder / spec))
        assert found.dtype == array.dtype
        assert found.shape == array.shape
        assert found.tobytes() == array.tobytes()
        assert found.flags.f_contiguous == np.load(folder / "a.npy").flags.f_contiguous


def test_a_file_of_python_2(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(of_shape("(2L, 1L)", np.array([1, 2], np.float32).tobytes()))
    assert (read_array(str(tmp_path / "a.npy")) == [[1], [2]]).all()


REFUSED: dict[str, tuple[bytes, str]] = {
    "a trillion elements": (of_shape("(1000000000000,)"), "at most"),
    "no element of a long row": (of_shape("(0, 1000000000000, 1000000000000)"), "at most"),
    "more than the file has": (of_shape("(3,)", bytes(11)), "truncated"),
    "negative": (of_shape("(-1,)", bytes(8)), "makes no sense"),
    "a bool as length": (of_shape("(True,)", bytes(8)), "makes no sense"),
    "a float as length": (of_shape("(1.0,)", bytes(8)), "makes no sense"),
    "a list as shape": (of_shape("[1]", bytes(8)), "makes no sense"),
    "a text as order": (of_shape("(1,)", bytes(4), order="'no'"), "makes no sense"),
    "axes": (of_shape(f"({'1, ' * 33})", bytes(4)), "33 axes"),
    "objects": (npy(np.array([None]), pickled=True), "Python objects"),
    "a pickle": (of_shape("(1,)", pickle.dumps(print), "'|O'"), "Python objects"),
    "text": (npy(np.array(["a"])), "holds text"),
    "bytes": (npy(np.array([b"a"])), "holds text"),
    "dates": (npy(np.array(["2020-01-01"], "datetime64[D]")), "type '<M8"),
    "records": (npy(np.zeros(3, [("a", "f4"), ("b", "i4")])), "holds elements"),
    "an array in each element": (of_shape("(1,)", bytes(8), "'(2,)f4'"), "holds elements"),
    "void": (of_shape("(1,)", bytes(8), "'|V8'"), "holds elements"),
    "an unknown size": (of_shape("(1,)", bytes(8), "'<f3'"), "damaged"),
    "a number as type": (of_shape("(1,)", bytes(8), "7"), "holds elements"),
    "no dictionary": (header("1"), "makes no sense"),
    "no end": (header("{'descr': '<f4'"), "damaged"),
    "an unclosed text": (header("{'descr': '''<f4"), "damaged"),
    "a token": (header("{'shape': (1, $)}"), "damaged"),
    "a call": (header("__import__('os').getcwd()"), "damaged"),
    "nested": (header("(" * 9000), "damaged"),
    "signs": (header("-" * 9000 + "1"), "damaged"),
    "a long header": (header(" " * 20_000, version=2), "a header of 20000 bytes"),
    "a header that ends": (header("")[:9], "damaged"),
    "a later version": (b"\x93NUMPY\x09\x00" + bytes(20), "no array of a format"),
    "only its magic": (b"\x93NUMPY", "damaged"),
    "nulls": (header("\0" * 100), "damaged"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_what_is_no_array_of_numbers(tmp_path: Path, name: str, kind: str) -> None:
    data, message = REFUSED[name]
    path = tmp_path / f"a.{kind}"
    if kind == "npy":
        path.write_bytes(data)
    else:
        npz(path, {"x": data})
    with pytest.raises(FileError, match=message) as refused:
        read_array(str(path))
    assert str(refused.value).startswith(str(path))


def _encrypted(data: bytes) -> bytes:
    """The flag that says so, in the member's and in the archive's record of it."""
    changed = bytearray(data)
    changed[6] |= 1
    changed[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(changed)


def _said_to_be(size: int) -> Callable[[bytes], bytes]:
    """An archive whose directory gives a member another size."""

    def change(data: bytes) -> bytes:
        at = data.index(b"PK\x01\x02") + 24
        return data[:at] + struct.pack("<I", size) + data[at + 4 :]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[: len(data) // 2], "damaged"),
        (lambda data: data[:30], "damaged"),
        (lambda data: b"PK\x03\x04" + bytes(100), "damaged"),
        (lambda data: data[:50] + b"\xff" * 20 + data[70:], "damaged"),
        (_encrypted, "encrypted"),
        (_said_to_be(3), "truncated"),
    ],
)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damaged_archives(
    tmp_path: Path, change: Callable[[bytes], bytes], message: str, method: int
) -> None:
    path = npz(tmp_path / "a.npz", {"x": npy(np.arange(50.0))}, method)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(FileError, match=message):
        read_array(str(path))


def test_a_wrong_checksum(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", {"x": npy(np.arange(50.0))}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[300] ^= 1
    path.write_bytes(data)
    with pytest.raises(FileError, match="CRC"):
        read_array(str(path))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions(tmp_path: Path, method: int) -> None:
    path = npz(tmp_path / "a.npz", {"x": npy(np.zeros(50))}, method)
    with pytest.raises(FileError, match="as numpy never does"):
        read_array(str(path))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_are_there_twice_and_none(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name in ("x.npy", "x"):
            archive.writestr(name, npy(np.zeros(3)))
    with pytest.raises(FileError, match="two arrays of the same name"):
        read_array(str(tmp_path / "a.npz"))
    npz(tmp_path / "none.npz", {})
    with pytest.raises(FileError, match="it is empty"):
        read_array(str(tmp_path / "none.npz"))


def test_more_members_than_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numpy_files, "MOST_MEMBERS", 2)
    path = npz(tmp_path / "a.npz", dict.fromkeys("abc", npy(np.zeros(1))))
    with pytest.raises(FileError, match="3 arrays; 2 at most"):
        read_array(f"{path}:a")


@pytest.mark.parametrize(("most", "method"), [("MOST_STORED", 0), ("MOST_COMPRESSED", 8)])
def test_the_largest_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: str, method: int
) -> None:
    monkeypatch.setattr(numpy_files, most, 400)
    path = npz(tmp_path / "a.npz", {"a": npy(np.ones(50)), "b": npy(np.ones(51))}, method)
    assert (read_array(f"{path}:a") == 1).all()
    with pytest.raises(FileError, match="408 bytes, and at most 400"):
        read_array(f"{path}:b")


def test_bytes_after_the_array(tmp_path: Path) -> None:
    """A file of several np.save gives the first array, as in numpy; a member holds one."""
    (tmp_path / "a.npy").write_bytes(npy(np.arange(3)) + npy(np.arange(9)))
    assert (read_array(str(tmp_path / "a.npy")) == [0, 1, 2]).all()
    path = npz(tmp_path / "a.npz", {"x": npy(np.arange(3)) + bytes(99)})
    with pytest.raises(FileError, match="goes on after its array"):
        read_array(str(path))


MEASURE = """
import resource, sys
from qbnnc.loading.arrays import read_array
from qbnnc.support.errors import FileError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_array(sys.argv[1])
except FileError as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def _bomb(path: Path, kind: str) -> None:
    """Small files that would take gigabytes."""
    claim = of_shape("(500000000,)")
    if kind == "npy":
        path.write_bytes(claim)
    elif kind == "bzip2":
        npz(path, {"x": claim + bytes(2_000_000_000)}, zipfile.ZIP_BZIP2)
    else:
        npz(path, {"x": claim + bytes(1000)})
        path.write_bytes(_said_to_be(2_000_000_078)(path.read_bytes()))


@pytest.mark.parametrize(
    "kind", ["npy", "claimed", pytest.param("bzip2", marks=pytest.mark.nightly)]
)
def test_small_files_take_little_memory(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bomb"
    _bomb(path, kind)
    assert path.stat().st_size < 10_000
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True
    )
    assert int(ran.stdout) < 30_000  # kilobytes; on a Mac bytes


def test_the_command_line_says_what_is_wrong(qbnnc_command: Runner, artefacts: Path) -> None:
    weights = ("lenet_mcd.pt", "--model", "tools.models:LeNet_MCD")
    for name in ("a trillion elements", "an unclosed text", "records", "nested"):
        Path("x.npy").write_bytes(REFUSED[name][0])
        for command in (
            ("run", artefacts / "lenet.qbnn", "--input", "x.npy"),
            ("verify", artefacts / "lenet.qbnn", "--input", "x.npy"),
            ("compile", *weights, "--calib", "x.npy", "-o", "out.qbnn"),
        ):
            assert qbnnc_command.refused(*command).startswith("x.npy: ")


@examples(300)
@given(st.data())
def test_any_other_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Bytes of good files, changed: an array or a FileError, and nothing else."""
    path = tmp_path_factory.getbasetemp() / "fuzz.npz"
    kind = data.draw(st.sampled_from(["npy", "stored", "packed"]))
    good = npy(np.arange(6, dtype=np.float32).reshape(2, 3))
    if kind == "npy":
        path.write_bytes(good)
    else:
        npz(path, {"x": good}, 8 * (kind == "packed"))
    changed = bytearray(path.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(changed) - 1), max_size=6)):
        changed[at] = data.draw(st.integers(0, 255))
    path.write_bytes(changed[: data.draw(st.integers(1, len(changed)))])
    with contextlib.suppress(FileError):
        assert isinstance(read_array(str(path)), np.ndarray)
