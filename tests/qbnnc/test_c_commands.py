"""Commands on C artefacts: folders for firmware, prefixes, blobs, inspect."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from torch import nn

import qbnnc
from qbnnc.ir.format import save
from qbnnc.support.errors import FileError
from qbnnc.verification.c_object import deepest
from tests.commands import Runner
from tests.integer_net import IntegerNet

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A network that is compiled once."""
    folder = tmp_path_factory.mktemp("artefact")
    net = nn.Sequential(
        nn.Linear(3, 40), nn.ReLU(), nn.Dropout(0.1), nn.Linear(40, 20), nn.ReLU(), nn.Linear(20, 1)
    )
    rows = np.random.default_rng(0).normal(size=(120, 3)).astype(np.float32)
    qbnnc.compile(
        net, folder / "net.qbnn", calibration=rows, dropout="active", calibration_passes=1
    )
    return (folder / "net.qbnn").read_bytes()


@pytest.fixture
def trained(qbnnc_command: Runner, artefact: bytes) -> Runner:
    """The command, in a folder with net.qbnn."""
    Path("net.qbnn").write_bytes(artefact)
    return qbnnc_command


def files(folder: str | Path) -> dict[str, bytes]:
    paths = [p for p in sorted(Path(folder).rglob("*")) if p.is_file()]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths}


@needs_gcc
def test_a_folder_for_firmware(trained: Runner) -> None:
    made = trained(
        "compile", "net.qbnn", "-o", "firmware/", "-o", "again.qbnn", "--prefix", "lenet"
    )
    assert made.code == 0
    assert "wrote firmware/: " in made.words
    written = files("firmware")
    assert {"CMakeLists.txt", "qbnnc.json", "src/lenet.c", "test/lenet_test.c"} <= set(written)
    for artefact in ("firmware", "firmware/src/lenet.c"):
        verified = trained("verify", artefact)
        assert verified.code == 0
        assert "lenet: 0 of" in verified.out
        assert trained("inspect", artefact).code == 0
    assert trained("compile", "net.qbnn", "-o", "firmware", "--prefix", "lenet", "-q").code == 0
    assert files("firmware") == written


def test_the_folders_name_is_the_prefix(trained: Runner) -> None:
    Path("here").mkdir()
    for output in ("net/", Path("here")):
        qbnnc.compile("net.qbnn", output)
        assert (Path(output) / "src" / f"{Path(output).name}.h").is_file()


def test_what_is_not_ours_stays(trained: Runner) -> None:
    """A file that somebody made or changed is named, and nothing is written."""
    compile_ = ("compile", "net.qbnn", "-o", "fw/", "-q")
    Path("fw").mkdir()
    Path("fw/notes.txt").write_text("mine")
    Path("fw/CMakeLists.txt").write_text("mine")
    said = trained.refused(*compile_)
    assert said.startswith("fw/CMakeLists.txt: was not made by qbnnc compile; move it away")
    Path("fw/CMakeLists.txt").unlink()
    assert trained(*compile_).code == 0
    main = Path("fw/examples/host/main.c")
    main.write_text(main.read_text() + "// mine\n")
    assert trained.refused(*compile_).startswith(f"{main}: was changed since it was compiled")
    main.unlink()
    assert trained(*compile_).code == 0
    assert Path("fw/notes.txt").read_text() == "mine"
    Path("fw/qbnnc.json").write_text("[]")
    assert "was not made by qbnnc compile" in trained.refused(*compile_)
    shutil.rmtree("fw/src")
    Path("fw/qbnnc.json").unlink()
    Path("fw/src").write_text("mine")
    assert trained.refused(*compile_).startswith("fw/")


def test_files_of_another_name_go(trained: Runner) -> None:
    """No build system compiles a network twice; what was changed stays."""
    for name in ("one", "two"):
        assert trained("compile", "net.qbnn", "-o", "fw/", "--prefix", name, "-q").code == 0
    assert not Path("fw/src/one.c").exists()
    assert Path("fw/src/two.c").exists()
    Path("fw/src/two.h").write_text("mine")
    assert trained("compile", "net.qbnn", "-o", "fw/", "--prefix", "one", "-q").code == 0
    assert not Path("fw/src/two.c").exists()
    assert Path("fw/src/two.h").read_text() == "mine"


def test_all_of_a_folder_or_nothing(trained: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, calls = os.replace, [0]

    def failing(source: Path, target: Path) -> None:
        calls[0] += 1
        if calls[0] == 5:
            raise PermissionError(13, "Permission denied")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(FileError, match="cannot be written"):
        qbnnc.compile("net.qbnn", "fw/")
    assert not Path("fw").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-o", "a.c", "--prefix", "9x"), "--prefix: a C name has letters"),
        (("-o", "my-net.c"), "my-net.c: a C name has letters, digits and _, and begins with a "),
        (("-o", "my-net/"), "give --prefix my_net"),
        (("-o", "test/"), "--prefix: test cannot name a library"),
        (("-o", "a.c/"), "a.c: a folder must not end like a file"),
        (("-o", "a.onnx/"), "a.onnx: a folder must not end like a file"),
        (("-o", "no/where/"), "cannot be written: there is no folder no; create it first"),
        (("-o", "a.qbnn", "--prefix", "x"), "--prefix: is for .c files and folders"),
        (("-o", "a.qbnn", "--blob"), "--blob: is for .c files and folders"),
        (("-o", "folder"), "folder: the suffix must be one of .onnx, .qbnn, .c; a / at the end"),
    ],
)
def test_what_is_refused(trained: Runner, arguments: tuple[str, ...], words: str) -> None:
    assert words in trained.refused("compile", "net.qbnn", *arguments)


@needs_gcc
def test_prefix_and_blob_of_one_file(trained: Runner) -> None:
    arguments = ("compile", "net.qbnn", "-o", "my-net.c", "--prefix", "other", "--blob", "-q")
    assert trained(*arguments).code == 0
    assert "int other_predict(" in Path("my-net.h").read_text()
    assert Path("my-net_weights.bin").stat().st_size >= 800
    verified = trained("verify", "my-net.c")
    assert (verified.code, verified.err) == (0, "")
    assert "other: 0 of" in verified.out
    Path("my-net_weights.bin").unlink()
    assert "my-net_weights.bin: cannot be read" in trained.refused("verify", "my-net.c")


@needs_gcc
def test_inspect(trained: Runner) -> None:
    assert trained("compile", "net.qbnn", "-o", "net.c", "-q").code == 0
    seen = trained("inspect", "net.c")
    assert seen.code == 0
    assert max(map(len, seen.out.splitlines())) <= 80
    for words in ("flash: ", "RAM: a state of ", "subtract", "largest stack ", "names begin net_"):
        assert words in seen.words, words
    read = json.loads(trained("inspect", "net.c", "--json").out)
    assert read["prefix"] == "net"
    assert [layer["row"] for layer in read["layers"]] == [120, 800, 0]
    assert [layer["sample"] for layer in read["layers"]] == [0, 80, 20]
    assert 1000 < read["compiled"]["code"] < 100_000
    assert read["compiled"]["stack"] is None or 16 <= read["compiled"]["stack"] < 10_000
    assert "clang" not in trained("inspect", "net.c", "--cc", "gcc -Os extra.c").out


@needs_gcc
def test_noise_choices_and_masks_of_weights(qbnnc_command: Runner) -> None:
    """Their memory is checked and told, and verify holds them against the oracle."""
    net = IntegerNet((12,))
    weight = net.choice(net.weight((10, 12), 5))
    net.layer(weight, net.bias(weight))
    net.times(net.noise((300, 9000, 40000), (10,), shared=False, inverted=False))
    weight = net.dropped(net.weight((6, 10)))
    save(net.layer(weight, net.bias(weight)).model(), Path("net.qbnn"))
    compile_ = ("compile", "net.qbnn", "-o", "net.c", "-q", "--ram")
    needed = re.search(r"the values take (\d+) bytes", qbnnc_command.refused(*compile_, "20"))
    assert needed is not None
    assert qbnnc_command(*compile_, needed[1]).code == 0
    seen = qbnnc_command("inspect", "net.c")
    assert max(map(len, seen.out.splitlines())) <= 80
    assert f"{needed[1]} of values" in seen.words
    for words in (" chosen 0 120 ", " dropped 0 60 "):
        assert words in seen.words, words
    verified = qbnnc_command("verify", "net.c")
    assert (verified.code, verified.err) == (0, "")
    assert "net: 0 of" in verified.out


def test_inspect_of_what_is_not_ours(trained: Runner) -> None:
    Path("main.c").write_text("int main(void) { return 0; }\n")
    Path("folder").mkdir()
    assert "main.c: not made by qbnnc" in trained.refused("inspect", "main.c")
    assert "folder: not made by qbnnc" in trained.refused("inspect", "folder")
    assert "main.c: not made by qbnnc" in trained.refused("verify", "main.c")
    assert trained("compile", "net.qbnn", "-o", "net.c", "-q").code == 0
    assert "cannot be started" in trained.refused("inspect", "net.c", "--cc", "no-such-cc")
    assert "does not compile" in trained.refused("inspect", "net.c", "--cc", "cc -Dfloat=;")
    assert trained("inspect", "net.c", "--plan").code == 2


GRAPH = """graph: { title: "net.c"
node: { title: "net.c:leaf" label: "leaf\\nnet.c:1:2\\n48 bytes (static)\\n0 dynamic objects" }
node: { title: "net.c:other" label: "other\\nnet.c:9:2\\n200 bytes (static)\\n0 dynamic objects" }
node: { title: "net_sample" label: "net_sample\\nnet.c:2:3\\n16 bytes (static)\\n0 dynamic" }
node: { title: "net_predict" label: "net_predict\\nnet.c:3:3\\n112 bytes (static)\\n0 dynamic" }
node: { title: "memset" label: "__builtin_memset\\n<built-in>" shape : ellipse }
edge: { sourcename: "net_predict" targetname: "net_sample" label: "net.c:5" }
edge: { sourcename: "net_predict" targetname: "memset" label: "net.c:6" }
edge: { sourcename: "net_sample" targetname: "net.c:leaf" label: "net.c:7" }
}
"""


def test_the_deepest_chain_of_calls() -> None:
    """A larger function that nothing calls does not count."""
    assert deepest(GRAPH, "net_predict") == 112 + 16 + 48
    assert deepest(GRAPH, "net.c:other") == 200
    assert deepest(GRAPH, "none") is None


def test_a_c_file_beside_others_names_both_commands(trained: Runner) -> None:
    assert trained("compile", "net.qbnn", "-o", "net.c", "-q").code == 0
    np.save("x.npy", np.zeros((2, 3), np.float32))
    said = trained.refused("verify", "net.qbnn", "net.c", "--input", "x.npy")
    assert said == (
        "net.c: a .c holds inputs of its own; run qbnnc verify net.c, and then "
        "qbnnc verify net.qbnn --input x.npy"
    )
