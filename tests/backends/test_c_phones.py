"""The shared library of a project folder, called from Python and Java."""

from __future__ import annotations

import array
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from qbnnc.backends.c.vectors import drawn_rows
from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_prediction
from qbnnc.ir.types import Array
from tests.backends.c_projects import laid_out, needs_cmake, run
from tests.backends.test_c import compiled
from tests.graphs import mlp

needs_java = pytest.mark.skipif(
    None in (shutil.which("javac"), shutil.which("java"), shutil.which("cmake")),
    reason="needs a JDK and cmake",
)


def expected(model: Model, x: Array) -> Mapping[str, Array]:
    """The statistics of the oracle by name."""
    made = oracle_prediction(model, x, samples=model.samples, seed=0, first_row=0)
    return {name: made[name] for name in model.head.statistic_names(len(model.graph.outputs))}


def numbers(said: str) -> dict[str, list[Array]]:
    """Statistics by name, as printed: a line for each of each row."""
    made: dict[str, list[Array]] = {}
    for line in said.splitlines():
        name, *values = line.split()
        made.setdefault(name, []).append(np.array(values, np.float32))
    return made


def assert_close(said: str, model: Model, x: Array) -> None:
    found = numbers(said)
    for name, wanted in expected(model, x).items():
        flat = wanted.reshape(len(x), -1)
        np.testing.assert_allclose(np.stack(found[name]), flat, rtol=1e-5, atol=1e-5)


@needs_cmake
@pytest.mark.slow
def test_python_by_the_shared_library(tmp_path: Path) -> None:
    model = compiled(mlp(), "w8a7")
    laid_out(tmp_path, model)
    x = drawn_rows(model.graph, 3)
    (tmp_path / "rows.f32").write_bytes(array.array("f", x.reshape(-1).tolist()).tobytes())
    run(tmp_path, "cmake", "-B", "build")
    run(tmp_path, "cmake", "--build", "build", "--target", "my_net_shared")
    said = run(
        tmp_path, sys.executable, "examples/python/predict.py", "build/libmy_net.so", "rows.f32"
    )
    assert_close(said, model, x)


MAIN = """import qbnnc.MyNetNetwork;

public class Main {
  public static void main(String[] words) {
    MyNetNetwork network = new MyNetNetwork();
    for (int row = 0; row < ROWS.length; row++) {
      MyNetNetwork.Prediction made =
          network.predict(ROWS[row], row, 0, MyNetNetwork.SAMPLES);
PRINTS
    }
    try {
      network.predict(ROWS[0], 0, 0, 0);
      System.exit(3);
    } catch (IllegalArgumentException expected) {
    }
  }

  private static final float[][] ROWS = {NUMBERS};
}
"""


@needs_java
@pytest.mark.slow
def test_java(tmp_path: Path) -> None:
    model = compiled(mlp(), "w8a7")
    laid_out(tmp_path, model)
    x = drawn_rows(model.graph, 2)
    names = list(expected(model, x))
    prints = "\n".join(f'      System.out.println("{name} " + made.{name});' for name in names)
    rows = ", ".join("{" + ", ".join(f"{v!r}f" for v in row.tolist()) + "}" for row in x)
    main = MAIN.replace("PRINTS", prints).replace("NUMBERS", rows)
    (tmp_path / "Main.java").write_text(main)
    home = Path(str(shutil.which("javac"))).resolve().parents[1]
    run(tmp_path, "cmake", "-B", "build", "-DMY_NET_JNI=ON", JAVA_HOME=str(home))
    run(tmp_path, "cmake", "--build", "build", "--target", "my_net_jni")
    java = tmp_path / "examples/java"
    run(tmp_path, "javac", "-Xlint:all", "-Werror", "-cp", java, "-d", "classes", "Main.java")
    said = run(
        tmp_path, "java", "-Xcheck:jni", "-Djava.library.path=build", "-cp", "classes", "Main"
    )
    assert "WARNING" not in said
    assert_close(said, model, x)
