"""Hatchling hook: put `__init__.py` and what it imports of qbnnc into the package `qbnnc_onnx`.

The modules keep their place below `qbnnc_onnx._qbnnc`, and the wheel renames their imports. So the
distribution shares no file with qbnnc, and both can be installed together.
"""

import ast
import re
import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "qbnnc_onnx"
INNER = f"{PACKAGE}._qbnnc"
_IMPORT = re.compile(r"^(\s*(?:from|import) )qbnnc\b", re.MULTILINE)


class Gather(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        self.folder = Path(tempfile.mkdtemp())
        write_package(Path(self.root), self.folder)
        build_data["force_include"][str(self.folder / PACKAGE)] = PACKAGE

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        shutil.rmtree(self.folder)


def write_package(root: Path, folder: Path) -> None:
    """Write `qbnnc_onnx/` into a folder; `root` holds this file."""
    target = folder / PACKAGE
    target.mkdir(parents=True)
    for name in ("__init__.py", "py.typed"):
        (target / name).write_text(renamed((root / name).read_text()))
    shutil.copy(root.parents[1] / "LICENSE", target)
    inner = folder.joinpath(*INNER.split("."))
    for name, file in sorted(modules(root).items()):
        path = inner.joinpath(*name.split(".")[1:]).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(renamed(file.read_text()))
        for parent in path.relative_to(folder).parents:
            if parent.name and not (folder / parent / "__init__.py").exists():
                (folder / parent / "__init__.py").write_text("")


def modules(root: Path) -> dict[str, Path]:
    """The modules of qbnnc that `__init__.py` loads, by name."""
    places = _places(root.parents[1])
    found, waiting = dict[str, Path](), [root / "__init__.py"]
    while waiting:
        for name in imports(waiting.pop()):
            file = _file(name, places)
            if file is not None and name not in found:
                found[name] = file
                waiting.append(file)
    return found


def imports(file: Path) -> Iterator[str]:
    """The modules, and names in modules, that a file imports when it is itself imported."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def renamed(source: str) -> str:
    """The source with its imports of qbnnc from within the package."""
    return _IMPORT.sub(rf"\1{INNER}", source)


def _places(tree: Path) -> dict[str, Path]:
    """The folder of each package of qbnnc, by the `sources` table of the root's pyproject.toml."""
    project = tomllib.loads((tree / "pyproject.toml").read_text())
    sources = project["tool"]["hatch"]["build"]["targets"]["wheel"]["sources"]
    return {target.replace("/", "."): tree / source for source, target in sources.items()}


def _file(name: str, places: dict[str, Path]) -> Path | None:
    """The file of a module; None for a package, for a name in a module, and for others' modules."""
    package = max((p for p in places if name.startswith(f"{p}.")), key=len, default=None)
    if package is None:
        return None
    path = places[package].joinpath(*name[len(package) + 1 :].split(".")).with_suffix(".py")
    return path if path.is_file() else None
