"""Folders for firmware projects: each build system's rules, and builds where the tools are."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from pathlib import Path

import pytest

from qbnnc.backends.c.project import check_project_name, project_paths
from qbnnc.ir.model import Model
from qbnnc.support.errors import UserError
from tests.backends.c_projects import laid_out, needs_cmake, run
from tests.backends.test_c import STRICT, compiled
from tests.graphs import lenet

needs_cpp = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
needs_pio = pytest.mark.skipif(
    shutil.which("pio") is None, reason="needs pio: pip install platformio, apart from qbnnc"
)


@pytest.fixture(scope="module")
def model() -> Model:
    return compiled(lenet(), "w8a7")


def properties(path: Path) -> dict[str, str]:
    lines = [line.partition("=") for line in path.read_text().splitlines()]
    return {key: value for key, _, value in lines}


def test_files_are_those_that_are_promised(tmp_path: Path, model: Model) -> None:
    laid_out(tmp_path, model, blob=True)
    made = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert made == set(project_paths("my_net"))
    for path in made - {"src/my_net_weights.bin"}:
        assert not re.search(r"@\w+@", (tmp_path / path).read_text()), path
    assert len((tmp_path / "examples/python/predict.py").read_text().splitlines()) <= 75


def test_arduino_metadata(tmp_path: Path, model: Model) -> None:
    """Arduino's library specification: fields, names, folders, and the sketch's place."""
    laid_out(tmp_path, model)
    fields = properties(tmp_path / "library.properties")
    wanted = "name version author maintainer sentence paragraph category url architectures"
    assert set(wanted.split()) <= set(fields)
    assert all(fields.values())
    assert re.fullmatch(r"[A-Za-z0-9][\w .-]{0,62}", fields["name"], re.ASCII)
    assert re.fullmatch(r"\d+\.\d+\.\d+(\+[0-9a-f]+)?", fields["version"])
    assert fields["category"] in "Data Processing,Other,Uncategorized".split(",")
    assert (tmp_path / "src" / fields["includes"]).is_file()
    assert (tmp_path / "examples/my_net/my_net.ino").is_file()
    compiled_there = {p.name for p in (tmp_path / "src").rglob("*") if p.suffix in (".c", ".cpp")}
    assert compiled_there == {"my_net.c"}


def test_platformio_metadata(tmp_path: Path, model: Model) -> None:
    laid_out(tmp_path, model)
    fields = json.loads((tmp_path / "library.json").read_text())
    assert re.fullmatch(r"[\w.-]{1,50}", fields["name"], re.ASCII)
    assert len(fields["version"]) <= 20
    assert len(fields["description"]) <= 255
    assert (tmp_path / fields["build"]["srcDir"] / "my_net.c").is_file()
    assert (tmp_path / fields["build"]["includeDir"] / fields["headers"]).is_file()
    for example in fields["examples"]:
        assert all((tmp_path / example["base"] / file).is_file() for file in example["files"])


@needs_pio
@pytest.mark.slow
def test_platformio_packs_the_folder(tmp_path: Path, model: Model) -> None:
    """`pio pkg pack` checks library.json by the registry's rules, and takes the sources."""
    folder = laid_out(tmp_path / "project", model)
    cores = {"PLATFORMIO_CORE_DIR": str(tmp_path / "core")}
    run(tmp_path, "pio", "pkg", "pack", folder, "--output", tmp_path, **cores)
    (packed,) = tmp_path.glob("my_net-*.tar.gz")
    with tarfile.open(packed) as archive:
        names = set(archive.getnames())
    assert {"library.json", "src/my_net.c", "src/my_net.h"} <= names


def test_zephyr_metadata(tmp_path: Path, model: Model) -> None:
    yaml = pytest.importorskip("yaml")
    laid_out(tmp_path, model, "no")  # without quotes YAML reads this name as false
    module = yaml.safe_load((tmp_path / "zephyr/module.yml").read_text())
    assert module["name"] == "no"
    assert (tmp_path / module["build"]["cmake"] / "CMakeLists.txt").is_file()
    kconfig = (tmp_path / module["build"]["kconfig"]).read_text()
    assert kconfig.startswith("config QBNNC_NO\n\tbool ")


@pytest.mark.parametrize("name", ["test", "Arduino_net", "a" * 51, "all"])
def test_names_of_the_build_systems(name: str) -> None:
    with pytest.raises(UserError, match="cannot name a library"):
        check_project_name(name)


@needs_cmake
@pytest.mark.slow
@pytest.mark.parametrize("blob", [False, True])
def test_cmake(tmp_path: Path, model: Model, blob: bool) -> None:
    """Configure, build, test, install, and use what is installed in another project."""
    laid_out(tmp_path, model, blob=blob)
    run(tmp_path, "cmake", "-B", "build", f"-DCMAKE_INSTALL_PREFIX={tmp_path / 'usr'}")
    run(tmp_path, "cmake", "--build", "build")
    tested = run(tmp_path, "ctest", "--test-dir", "build", "--output-on-failure")
    assert "100% tests passed, 0 tests failed out of 2" in tested
    run(tmp_path, "cmake", "--install", "build")
    user = tmp_path / "user"
    user.mkdir()
    shutil.copy(tmp_path / "examples/host/main.c", user)
    (user / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(user C)\nfind_package(my_net REQUIRED)\n"
        "add_executable(one main.c)\ntarget_link_libraries(one my_net::my_net)\n"
        "add_executable(two main.c)\ntarget_link_libraries(two my_net::my_net_shared)\n"
    )
    run(user, "cmake", "-B", "build", f"-DCMAKE_PREFIX_PATH={tmp_path / 'usr'}")
    run(user, "cmake", "--build", "build")
    said = [run(user, user / "build" / name) for name in ("one", "two")]
    assert said[0] == said[1]
    assert "entropy" not in said[0]  # the task is raw
    assert said[0].startswith("mean")


ZEPHYR = """cmake_minimum_required(VERSION 3.16)
project(app C ASM)
set(CONFIG_QBNNC_MY_NET y)
macro(zephyr_library_named name)
  set(library ${name})
  add_library(${name} STATIC)
endmacro()
macro(zephyr_library_sources)
  target_sources(${library} PRIVATE ${ARGN})
endmacro()
macro(zephyr_include_directories)
  include_directories(${ARGN})
endmacro()
add_subdirectory(firmware/zephyr build)
"""


@needs_cmake
@pytest.mark.slow
def test_zephyr_module_builds(tmp_path: Path, model: Model) -> None:
    """Zephyr's functions are imitated: it is not here."""
    laid_out(tmp_path / "firmware", model, blob=True)
    (tmp_path / "CMakeLists.txt").write_text(ZEPHYR)
    run(tmp_path, "cmake", "-B", "out")
    run(tmp_path, "cmake", "--build", "out")
    assert (tmp_path / "out/build/libqbnnc_my_net.a").is_file()


SERIAL = """#include <cstdio>
#include <cstdint>
struct {
  void begin(long) {}
  void print(const char *text) { std::fputs(text, stdout); }
  void println(const char *text) { std::puts(text); }
  void println(double value, int) { std::printf("%g\\n", value); }
} Serial;
static void delay(int) {}
"""


@needs_cpp
def test_the_arduino_sketch_is_cpp(tmp_path: Path, model: Model) -> None:
    """The library as C, the sketch as C++ with Arduino's functions imitated."""
    laid_out(tmp_path, model)
    (tmp_path / "Arduino.h").write_text(SERIAL)
    (tmp_path / "run.cpp").write_text(
        '#include "examples/my_net/my_net.ino"\nint main() { setup(); loop(); }\n'
    )
    run(tmp_path, "gcc", *STRICT, "-O1", "-c", "src/my_net.c")
    warned = ("-Wall", "-Wextra", "-Werror", "-include", "Arduino.h", "-Isrc")
    run(tmp_path, "g++", *warned, "-o", "sketch", "run.cpp", "my_net.o")
    said = run(tmp_path, tmp_path / "sketch")
    assert "mean[0] " in said
    assert "no prediction" not in said
