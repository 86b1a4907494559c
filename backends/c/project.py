"""A folder for firmware projects: one that CMake, Arduino, PlatformIO and Zephyr all take."""

from __future__ import annotations

import re
from importlib.resources import files

from qbnnc.backends.c.arguments import of_row
from qbnnc.backends.c.costs import Costs
from qbnnc.backends.c.head import statistics
from qbnnc.backends.c.source import Source
from qbnnc.ir.ids import holds_only_ids
from qbnnc.ir.model import Model
from qbnnc.support.errors import UserError
from qbnnc.support.several_inputs import Entries

_FILES = {
    "README.md": "README.md.in",
    "CMakeLists.txt": "CMakeLists.txt.in",
    "library.json": "library.json.in",
    "library.properties": "library.properties.in",
    "zephyr/module.yml": "module.yml.in",
    "zephyr/CMakeLists.txt": "zephyr.cmake.in",
    "zephyr/Kconfig": "Kconfig.in",
    "examples/host/main.c": "main.c.in",
    "examples/@name@/@name@.ino": "sketch.ino.in",
    "examples/python/predict.py": "predict.py.in",
    "examples/java/@name@_jni.c": "jni.c.in",
    "examples/java/qbnnc/@Class@.java": "Network.java.in",
}
_TARGETS = frozenset(
    "all clean depend edit_cache help host install java list_install_components package "
    "package_source preinstall python rebuild_cache test uninstall".split()
)
_PYTHON_PART = """def part(row, start):
    \"\"\"The numbers of a row from one of them on.\"\"\"
    return ctypes.cast(ctypes.byref(row, 4 * start), ctypes.POINTER(ctypes.c_float))


"""
_NUMBERS = {
    "number": "float",
    "numbers": "float32 numbers",
    "c_number": "c_float",
    "code": "f",
    "jnumber": "float",
    "JNumber": "Float",
    "wrong": "an input is NaN or infinite",
}
_IDS = {
    "number": "int32_t",
    "numbers": "int32 ids",
    "c_number": "c_int32",
    "code": "i",
    "jnumber": "int",
    "JNumber": "Int",
    "wrong": "an input is no id of its vocabulary",
}
_MOST_NAME = 50  # the longest name that PlatformIO takes


def check_project_name(name: str) -> None:
    """UserError for a prefix that cannot name a library in all of the four build systems."""
    if name.lower() in _TARGETS or name.lower().startswith("arduino") or len(name) > _MOST_NAME:
        raise UserError(
            f"{name} cannot name a library: the build systems use it, or it is longer than "
            f"{_MOST_NAME} letters",
            place="`prefix`",
            remedy="give `prefix=...` with another name",
        )


def project_paths(name: str) -> list[str]:
    """Return the paths of all files that a folder may have, relative to it."""
    written = [_filled(path, _names(name)) for path in _FILES]
    source = [f"src/{name}{suffix}" for suffix in (".c", ".h", "_weights.S", "_weights.bin")]
    return [*written, *source, f"test/{name}_test.c"]


def project(model: Model, source: Source, test: str) -> dict[str, bytes]:
    """Make the files of a folder, by their paths in it. `test` is the text of NAME_test.c."""
    name = source.name
    values = _names(name) | _facts(source.costs) | _sources(source) | _statistics(model)
    values |= _IDS if holds_only_ids(model.graph) else _NUMBERS
    values |= _inputs(model.inputs)
    folder = files("qbnnc.backends.c") / "template"
    made = {
        _filled(path, values): _filled((folder / template).read_text(), values).encode()
        for path, template in _FILES.items()
    }
    made[f"src/{name}.c"] = source.body.encode()
    made[f"src/{name}.h"] = source.header.encode()
    made[f"test/{name}_test.c"] = test.encode()
    if source.blob is not None:
        made[f"src/{name}_weights.S"] = source.blob.assembly.encode()
        made[f"src/{name}_weights.bin"] = source.blob.data
    return made


def _filled(text: str, values: dict[str, str]) -> str:
    """Replace each `@name@` of a template; KeyError for one that has no value."""
    return re.sub(r"@(\w+)@", lambda found: values[found[1]], text)


def _names(name: str) -> dict[str, str]:
    words = "".join(word[:1].upper() + word[1:] for word in name.split("_"))
    return {"name": name, "NAME": name.upper(), "Class": f"{words}Network"}


def _inputs(entries: Entries) -> dict[str, str]:
    """The inputs as arguments: parts of an array that holds a row."""
    parts = [f"part(values, {entry.start})" for entry in entries]
    return {
        "row_input": of_row(entries, "input"),
        "row_values": of_row(entries, "values"),
        "types": ", ".join("x" for _ in entries),
        "parts": ", ".join(parts) if len(parts) > 1 else "values",
        "python_part": _PYTHON_PART if len(parts) > 1 else "",
    }


def _facts(costs: Costs) -> dict[str, str]:
    return {
        "version": f"1.0.0+{costs.digest[:8]}",
        "method": costs.method,
        "bits": costs.bits,
        "task": costs.task,
        "samples": str(costs.samples),
        "inputs": str(costs.inputs),
        "state": str(costs.state.total),
        "constants": str(sum(costs.constants.values())),
    }


def _sources(source: Source) -> dict[str, str]:
    name, assembly = source.name, f"src/{source.name}_weights.S"
    paths = [f"src/{name}.c", *([assembly] if source.blob else [])]
    binary = f"${{CMAKE_CURRENT_SOURCE_DIR}}/src/{name}_weights.bin"
    depends = f"set_property(SOURCE {assembly} PROPERTY OBJECT_DEPENDS {binary})\n"
    return {
        "sources": " ".join(paths),
        "zephyr_sources": " ".join(f"../{path}" for path in paths),
        "languages": "C ASM" if source.blob else "C",
        "depends": depends if source.blob else "",
    }


def _statistics(model: Model) -> dict[str, str]:
    """The fields of a prediction in the languages of the examples."""
    lines: dict[str, list[str]] = {
        key: [] for key in ("printf", "serial", "ctypes", "java_fields", "java_reads")
    }
    at = 0
    for name, count in statistics(model).fields:
        several = count > 1
        first = f"{name}[0]" if several else name
        lines["printf"].append(f'  printf("{first} %g\\n", (double)prediction.{first});')
        lines["serial"] += [
            f'    Serial.print("{first} ");',
            f"    Serial.println(prediction.{first}, 6);",
        ]
        kind = f"ctypes.c_float * {count}" if several else "ctypes.c_float"
        lines["ctypes"].append(f'        ("{name}", {kind}),')
        lines["java_fields"].append(f"    public final float{'[]' * several} {name};")
        value = f"Arrays.copyOfRange(all, {at}, {at + count})" if several else f"all[{at}]"
        lines["java_reads"].append(f"      {name} = {value};")
        at += count
    return {key: "\n".join(texts) for key, texts in lines.items()} | {"statistics": str(at)}
