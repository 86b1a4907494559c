"""An aarch64 Python with the runtime's packages, which qemu runs: a folder that is made once.

Debian's packages are downloaded with an apt state of their own and unpacked: nothing is installed,
and root is not needed. The wheels have the versions of constraints.txt.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

CLONE = Path(__file__).resolve().parents[2]
EMULATOR = "qemu-aarch64"
TOOLS = ("apt-get", "dpkg-deb")
DEBIAN = ("python3-minimal", "libpython3-stdlib", "libstdc++6")  # with all that they need
WHEELS = ("llvmlite", "numba", "numpy", "safetensors")
PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_27_aarch64", "manylinux_2_28_aarch64")


class NotMadeError(Exception):
    """The reason why the folder cannot be made, for people."""


@dataclass(frozen=True, slots=True)
class Arm64:
    """The folder of the emulated Python; `build/devices/arm64` of the clone is the usual one."""

    folder: Path = CLONE / "build" / "devices" / "arm64"

    @property
    def root(self) -> Path:
        """The folder that takes the place of / for the emulated Python."""
        return self.folder / "root"

    @property
    def site(self) -> Path:
        """The folder of the wheels' packages."""
        return self.folder / "site"

    @property
    def kernels(self) -> Path:
        """The folder where the emulated runtime keeps kernels: it compiles them for minutes."""
        return self.folder / "kernels"

    @property
    def trouble(self) -> str:
        """The reason why the emulated Python cannot be started; empty if it can."""
        if shutil.which(EMULATOR) is None:
            return f"needs {EMULATOR}"
        if not self._made.is_file():
            return f"needs {self.folder}"
        if self._made.read_text() != _pins():
            return f"has other versions in {self.folder} than constraints.txt"
        return ""

    def command(self, cpu: str) -> list[str]:
        """The command that starts Python on an emulated CPU, by qemu's name."""
        python = str(self.root / "usr" / "bin" / "python3")
        return [EMULATOR, "-cpu", cpu, "-L", str(self.root), python]

    def make(self) -> None:
        """Make the folder anew. An old one stays if that fails.

        Raises NotMadeError, which names a tool or a download that is missing.
        """
        for tool in TOOLS:
            if shutil.which(tool) is None:
                raise NotMadeError(f"needs {tool}")
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self.folder.parent) as place:
            new = Arm64(Path(place) / "new")
            new.folder.mkdir()
            new._unpack_debian()
            new._unpack_wheels()
            new._made.write_text(_pins())
            shutil.rmtree(self.folder, ignore_errors=True)
            new.folder.rename(self.folder)

    @property
    def _made(self) -> Path:
        """The file that is written last; it holds the versions."""
        return self.folder / "versions.txt"

    def _unpack_debian(self) -> None:
        """Download Python and its libraries, and unpack them below `root`."""
        apt = (self.folder / "apt").absolute()  # apt takes relative paths from /
        for part in ("state/lists/partial", "cache/archives/partial"):
            (apt / part).mkdir(parents=True)
        (apt / "status").touch()  # no package is installed
        options = {
            "Dir::State": apt / "state",
            "Dir::State::status": apt / "status",
            "Dir::Cache": apt / "cache",
            "APT::Architecture": "arm64",
            "APT::Architectures": "arm64",
            "APT::Sandbox::User": "root",  # another user cannot write to the clone
            "APT::Update::Error-Mode": "any",  # a server that does not answer is an error
            "Acquire::Languages": "none",
        }
        command = ["apt-get", "-q"]
        for name, value in options.items():
            command += ["-o", f"{name}={value}"]
        what = "Debian's packages for arm64"
        _run(what, [*command, "update"])
        fetch = ["install", "-y", "--no-install-recommends", "--download-only"]
        _run(what, [*command, *fetch, *DEBIAN])
        for package in sorted((apt / "cache" / "archives").glob("*.deb")):
            _run(package.name, ["dpkg-deb", "-x", str(package), str(self.root)])
        if not (self.root / "lib").exists():  # newer packages have all in /usr/lib
            (self.root / "lib").symlink_to("usr/lib")
        shutil.rmtree(apt)

    def _unpack_wheels(self) -> None:
        """Download the wheels for the Python in `root`, and unpack them to `site`."""
        wheels, version = self.folder / "wheels", self._python_version()
        command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"]
        command += ["--no-deps", "--only-binary=:all:", "--dest", str(wheels)]
        for platform in PLATFORMS:
            command += ["--platform", platform]
        command += ["--implementation", "cp", "--python-version", version]
        pins = _pins().split()
        _run(f"wheels of {', '.join(pins)} for Python {version} on aarch64", [*command, *pins])
        for wheel in sorted(wheels.glob("*.whl")):
            shutil.unpack_archive(wheel, self.site, "zip")
        shutil.rmtree(wheels)

    def _python_version(self) -> str:
        """The version of the Python in `root`, such as 3.11."""
        (program,) = (self.root / "usr" / "bin").glob("python3.[0-9]*")
        return program.name.removeprefix("python")


def _pins() -> str:
    """The wheels with their versions, a line each, from constraints.txt."""
    lines = (CLONE / "constraints.txt").read_text().splitlines()
    names = "|".join(WHEELS)
    return "".join(f"{line}\n" for line in lines if re.match(rf"({names})==", line))


def _run(what: str, command: list[str]) -> None:
    """Run a command; raise NotMadeError with the last line of its complaint."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["no message"]
        raise NotMadeError(f"lacks {what}: {said[-1].strip()}")
