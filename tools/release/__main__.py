"""Build a release, try it in empty environments, and say what is left to do.

    python -m tools.release [--repository URL] [--pip-flags ...] [--no-trials]

Nothing is uploaded and no tag is made. A tree that differs from its commit, or whose version,
changelog and tag disagree, is refused before anything is built. The archives are in dist/.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from tools.release.content import onnx_wheel_faults, sdist_faults, wheel_faults
from tools.release.state import NotReadyError, faults, git, version
from tools.release.trial import Archives, told, try_all

ROOT = Path(__file__).resolve().parents[2]
LEFT = """
dist/ has the release {tag}. Left to do:

  git tag -a {tag} -m "qbnnc {version}"    # if the tag is not there yet
  git push origin {tag}
  {python} -m twine upload {files}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tools.release")
    parser.add_argument("--repository", default="", help="address of the sources, for links")
    parser.add_argument("--pip-flags", default="", help="options for pip, in one argument")
    parser.add_argument("--no-trials", action="store_true", help="install nothing")
    options = parser.parse_args()
    try:
        release(options.repository, shlex.split(options.pip_flags), trials=not options.no_trials)
    except NotReadyError as error:
        print(f"no release: {error}", file=sys.stderr)
        return 1
    return 0


def release(repository: str, flags: list[str], *, trials: bool) -> None:
    """Build, check and try the archives of the tree.

    Raises:
        NotReadyError: the tree is not ready, a command failed, or an archive has a fault.
    """
    refuse(faults(ROOT))
    archives = build(ROOT, known_repository(ROOT, repository))
    files = [str(file.relative_to(ROOT)) for file in archives]
    command("the metadata", "twine", "check", "--strict", *files)
    tracked = set(git(ROOT, "ls-files").splitlines())
    wheel, onnx_wheel, sdist = archives
    found = [*wheel_faults(wheel, tracked, ROOT), *onnx_wheel_faults(onnx_wheel)]
    refuse([*found, *sdist_faults(sdist, tracked)])
    if trials:
        try_all(Archives(wheel, onnx_wheel, sdist), ROOT, flags)
    made = version(ROOT)
    names = " ".join(files)
    python = Path(sys.executable).name
    print(LEFT.format(tag=f"v{made}", version=made, files=names, python=python))


def known_repository(root: Path, given: str) -> str:
    """The address of the sources: what was given, or what pyproject.toml says."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    declared = str(project["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"])
    if address := given or declared:
        return address
    raise NotReadyError(
        "where the sources will be is not known, and links of the index's page lead there: "
        "write `repository` in pyproject.toml, or give --repository"
    )


def build(root: Path, repository: str) -> tuple[Path, Path, Path]:
    """Build the wheel of qbnnc from its sdist, and the wheel of qbnnc-onnx, into dist/."""
    dist = root / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    os.environ["QBNNC_REPOSITORY"] = repository  # tools/hatch_metadata.py reads it
    command("qbnnc", "build", "--outdir", str(dist), str(root))
    onnx = root / "tools" / "qbnnc_onnx"
    command("qbnnc-onnx", "build", "--wheel", "--outdir", str(dist), str(onnx))
    made = version(root)
    wheels = [dist / f"{name}-{made}-py3-none-any.whl" for name in ("qbnnc", "qbnnc_onnx")]
    archives = (*wheels, dist / f"qbnnc-{made}.tar.gz")
    refuse([f"{file.name} was not built" for file in archives if not file.exists()])
    refuse([f"dist/{file.name}: not meant" for file in dist.iterdir() if file not in archives])
    return archives[0], archives[1], archives[2]


def command(what: str, module: str, *arguments: str) -> None:
    """Run a module of this environment, and show what it says only if it fails."""
    told(f"{module}: {what}")
    words = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(words, cwd=ROOT, text=True, capture_output=True)
    if done.returncode:
        raise NotReadyError(f"{module} failed\n{done.stdout}{done.stderr}")


def refuse(reasons: list[str]) -> None:
    if reasons:
        raise NotReadyError("\n".join(["", *(f"  {reason}" for reason in reasons)]))


if __name__ == "__main__":
    sys.exit(main())
