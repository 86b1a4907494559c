"""What the tests of devices need: installed by root, and named for others.

python -m tools.devices

The Python for an emulated aarch64 is a folder, and needs no root.
"""

from __future__ import annotations

import os
import shutil
import subprocess

from tools.devices.arm64 import Arm64, NotMadeError
from tools.devices.targets import DEVICES, HOST


def main() -> None:
    """Install the packages of targets that miss something, or say what to install."""
    wanting = [target for target in HOST + DEVICES if target.trouble]
    packages = sorted({name for target in wanting for name in target.packages.split()})
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if packages and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update", "-q"], check=True)
        subprocess.run(command, check=True)
    elif packages:
        print("Debian's packages of what is missing, for root:", *command)
    for target in HOST + DEVICES:
        print(f"{target.name:15} {target.trouble or 'ready'}")
    print(f"{'aarch64-python':15} {_python() or 'ready'}")


def _python() -> str:
    """Make the emulated Python if it is missing; return what still is."""
    python = Arm64()
    if not python.trouble:
        return ""
    try:
        python.make()
    except NotMadeError as error:
        return str(error)
    return python.trouble


if __name__ == "__main__":
    main()
