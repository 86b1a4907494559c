"""What the tests of devices need: installed by root, and named for others.

python -m tools.devices
"""

from __future__ import annotations

import os
import shutil
import subprocess

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


if __name__ == "__main__":
    main()
