"""The content of archives: exactly the files that git tracks, in the places that are meant.

An sdist holds every tracked file. A wheel holds the folders of pyproject.toml's `sources` table,
each below its package, and what the distribution's name, licence and metadata need.
"""

from __future__ import annotations

import email
import re
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from email.message import Message
from pathlib import Path, PurePosixPath

METADATA = ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
OF_ONNX = ("__init__.py", "py.typed", "LICENSE", "_qbnnc/")  # below qbnnc_onnx/
_RELATIVE = re.compile(r"\]\((?![a-z]+:|#)[^)]*\)|(?:src|href)=\"(?![a-z]+:|#)")
_FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


def sdist_faults(archive: Path, tracked: set[str]) -> Iterator[str]:
    """Files that an sdist has too many, or lacks; `tracked` has paths from the root."""
    with tarfile.open(archive) as tar:
        names = {PurePosixPath(member.name) for member in tar.getmembers() if not member.isdir()}
    held = {PurePosixPath(*name.parts[1:]).as_posix() for name in names}
    yield from differences(archive.name, held, tracked | {"PKG-INFO"})


def wheel_faults(archive: Path, tracked: set[str], root: Path) -> Iterator[str]:
    """Files that the wheel of qbnnc has too many, or lacks, and faults of its metadata."""
    wanted = set(packaged(tracked, root))
    names, metadata = read_wheel(archive)
    info = f"{'-'.join(archive.name.split('-')[:2])}.dist-info"
    yield from differences(archive.name, names, wanted | {f"{info}/{name}" for name in METADATA})
    yield from metadata_faults(archive, metadata)


def onnx_wheel_faults(archive: Path) -> Iterator[str]:
    """Files that the wheel of qbnnc-onnx should not have, or lacks, and faults of its metadata."""
    names, metadata = read_wheel(archive)
    inside = {name for name in names if ".dist-info/" not in name}
    for name in sorted(inside):
        place = name.removeprefix("qbnnc_onnx/")
        if place == name or not place.startswith(OF_ONNX) or "test" in place:
            yield f"{archive.name}: {name} does not belong there"
    for name in OF_ONNX[:3]:
        if f"qbnnc_onnx/{name}" not in inside:
            yield f"{archive.name}: qbnnc_onnx/{name} is missing"
    yield from metadata_faults(archive, metadata)


def packaged(tracked: set[str], root: Path) -> Iterator[str]:
    """The places in the wheel of the tracked files, by the tables of pyproject.toml."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    sources: dict[str, str] = wheel["sources"]
    for file in tracked:
        if any(below(file, folder) for folder in wheel["exclude"]):
            continue
        if homes := [folder for folder in sources if below(file, folder)]:
            yield sources[homes[0]] + file[len(homes[0]) :]


def metadata_faults(archive: Path, metadata: Message) -> Iterator[str]:
    """Faults of what an index shows: another version than the file's name, relative links."""
    name, version = archive.name.split("-")[:2]
    if metadata["Name"].replace("-", "_") != name or metadata["Version"] != version:
        yield f"{archive.name}: its metadata are of {metadata['Name']} {metadata['Version']}"
    if metadata["License-Expression"] != "Apache-2.0":
        yield f"{archive.name}: no licence in its metadata"
    shown = _FENCED.sub("", str(metadata.get_payload()))
    for link in _RELATIVE.findall(shown):
        yield f"{archive.name}: {link} leads nowhere on an index's page"


def read_wheel(archive: Path) -> tuple[set[str], Message]:
    """The names of a wheel's files, and its metadata."""
    with zipfile.ZipFile(archive) as file:
        names = {name for name in file.namelist() if not name.endswith("/")}
        (place,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        return names, email.message_from_string(file.read(place).decode("utf-8"))


def differences(archive: str, held: set[str], wanted: set[str]) -> Iterator[str]:
    yield from (f"{archive}: {name} does not belong there" for name in sorted(held - wanted))
    yield from (f"{archive}: {name} is missing" for name in sorted(wanted - held))


def below(file: str, folder: str) -> bool:
    return file.startswith(f"{folder}/")
