"""C artefacts: one .c with its neighbours, or the folder of a firmware project."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qbnnc.backends.c import Source, check_name, check_project_name, golden_program, project, to_c
from qbnnc.backends.c.project import project_paths
from qbnnc.ir.model import Model
from qbnnc.loading.project_folder import check_folder, with_listing
from qbnnc.loading.writing import COptions
from qbnnc.support.errors import FileError
from qbnnc.support.files import check_output


@dataclass(frozen=True, slots=True)
class CFiles:
    """The files that belong to a .c. The test of a project stands in a folder of its own."""

    source: Path

    @property
    def header(self) -> Path:
        return self.source.with_suffix(".h")

    @property
    def test(self) -> Path:
        beside = self.source.with_name(f"{self.source.stem}_test.c")
        apart = self.source.parent.parent / "test" / beside.name
        return apart if self.source.parent.name == "src" and not beside.exists() else beside

    @property
    def assembly(self) -> Path:
        return self.source.with_name(f"{self.source.stem}_weights.S")

    @property
    def weights(self) -> Path:
        return self.assembly.with_suffix(".bin")

    def all(self) -> tuple[Path, ...]:
        """All that an artefact may have beside it, and itself."""
        return self.source, self.header, self.test, self.assembly, self.weights


def check_c(path: Path, options: COptions) -> list[Path]:
    """Return the files that an artefact may have; UserError if it cannot be written."""
    name = _name(path, options)
    check_name(name, str(path) if options.prefix is None else "`prefix`")
    if _is_c(path):
        if set(path.stem) & set('"\\\n'):
            raise FileError("C cannot include a name with quotes or backslashes", path)
        files = CFiles(path)
        written = [files.source, files.header, _beside(path), files.assembly, files.weights]
        for file in written:
            check_output(file)
        return written
    check_project_name(name)
    paths = project_paths(name)
    check_folder(path, paths)
    return [path / each for each in paths]


def c_artefact(model: Model, path: Path, options: COptions) -> dict[Path, bytes]:
    """Make the files of a .c, or of a folder."""
    name, file = _name(path, options), path.stem if _is_c(path) else None
    source = to_c(model, name, options.ram, file=file, blob=options.blob)
    test = golden_program(model, name, file=file)
    if file is None:
        made = with_listing(name, project(model, source, test))
        return {path / each: data for each, data in made.items()}
    files = CFiles(path)
    written = {files.source: source.body, files.header: source.header, _beside(path): test}
    return {each: text.encode() for each, text in written.items()} | dict(_blob(files, source))


def _name(path: Path, options: COptions) -> str:
    """The prefix of the names in an artefact."""
    if options.prefix is not None:
        return options.prefix
    return path.stem if _is_c(path) else path.resolve().name


def _is_c(path: Path) -> bool:
    """Whether an artefact is one .c, and no folder."""
    return path.suffix == ".c"


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.stem}_test.c")


def _blob(files: CFiles, source: Source) -> Iterator[tuple[Path, bytes]]:
    if source.blob is not None:
        yield files.assembly, source.blob.assembly.encode()
        yield files.weights, source.blob.data
