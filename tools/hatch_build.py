"""Hatchling hook: lay the source folders out as one `qbnnc` package for `pip install -e .`.

An ordinary wheel renames `frontend/` to `qbnnc/frontend/` while it copies. An editable install
copies nothing, so this hook builds the same shape out of symbolic links, in `.editable/`, and
`dev-mode-dirs` puts that folder on the path. Both shapes come from the one `sources` table.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class LinkTree(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "editable":
            return
        tree = Path(self.root, ".editable")
        shutil.rmtree(tree, ignore_errors=True)
        for source, target in self.build_config.sources.items():
            folder, package = Path(self.root, source), tree / target
            if package.parent == tree:  # the root package shares its folder with the others
                for file in folder.iterdir():
                    if file.name != "__pycache__":
                        link(package / file.name, to=file)
            else:
                link(package, to=folder)


def link(path: Path, *, to: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(os.path.relpath(to, path.parent), target_is_directory=to.is_dir())
