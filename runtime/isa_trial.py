"""A program for a process of its own, which compiles LLVM IR and may end in LLVM.

The program reads JSON on stdin. `path` is the folder from which llvmlite is imported; `triple`,
`cpu` and `features` name the target, and `ir` is the module. It prints BEGUN when LLVM is loaded,
and ENDED when all is compiled and no intrinsic is left over.
"""

from __future__ import annotations

import json
import sys

BEGUN, ENDED = "begun", "ended"


def main() -> None:
    """Compile the IR; exit with a message for an intrinsic that this LLVM does not have."""
    task = json.load(sys.stdin)
    sys.path.append(task["path"])
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    print(BEGUN, flush=True)
    module = llvm.parse_assembly(task["ir"])
    target = llvm.Target.from_triple(task["triple"])
    machine = target.create_target_machine(cpu=task["cpu"], features=task["features"], opt=3)
    calls = [line.strip() for line in machine.emit_assembly(module).splitlines() if "llvm." in line]
    if calls:
        sys.exit(f"LLVM has no such intrinsic: {calls[0]}")
    print(ENDED, flush=True)


if __name__ == "__main__":
    main()
