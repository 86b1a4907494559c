"""`make check` runs a member of every family of cases: none is marked slow as a whole."""

from __future__ import annotations

import ast
from functools import cache
from itertools import pairwise, product
from pathlib import Path

from tests.examples import evenly, scattered

TESTS = Path(__file__).parent
LEFT_OUT = {"pytest.mark.slow", "pytest.mark.nightly", "pytest.mark.few(0)"}
FILES = sorted(path.relative_to(TESTS).as_posix() for path in TESTS.rglob("test_*.py"))

# A family that is slow as a whole, and the test of the same file or another that stands for it.
STAND_INS = {
    "backends/test_c_draws.py::test_many_random_models": (
        "backends/test_c_draws.py::test_random_models"
    ),
    "conformance/posteriors/test_choices.py::test_distribution_of_many_samples": (
        "conformance/posteriors/test_choices.py::test_bits_and_distribution"
    ),
    "conformance/posteriors/test_noise.py::test_distribution_of_many_samples": (
        "conformance/posteriors/test_noise.py::test_bits_and_distribution"
    ),
    "conformance/posteriors/test_correlated_weights.py::test_many_samples": (
        "conformance/posteriors/test_correlated_weights.py::test_bits_and_distribution"
    ),
    "conformance/zoo/test_networks.py::test_a_sample": (
        "conformance/zoo/test_recurrent.py::test_the_same_bits_near_the_float_network"
    ),
    "conformance/zoo/test_networks.py::test_all_others": (
        "conformance/zoo/test_recurrent.py::test_the_same_bits_near_the_float_network"
    ),
    "backends/test_c_project.py::test_cmake": (
        "backends/test_c_project.py::test_files_are_those_that_are_promised"
    ),
    "backends/test_onnx_equality.py::test_samples_are_the_oracles_for_thousands_of_models": (
        "backends/test_onnx_equality.py::test_samples_are_the_oracles"
    ),
    "backends/test_onnxruntime_web.py::test_standard_networks": (
        "backends/test_onnxruntime_web.py::test_random_models_of_every_op"
    ),
    "devices/test_devices.py::test_mlps_at_all_widths": "backends/test_c.py::test_networks",
    "devices/test_devices.py::test_mlps_at_some_widths": "backends/test_c.py::test_networks",
    "devices/test_devices.py::test_random_graphs": (
        "backends/test_c.py::test_random_models_of_every_op"
    ),
    "devices/test_devices.py::test_standard_networks": "backends/test_c.py::test_networks",
    "frontend/distribution/test_random_modules.py::test_integers_have_the_law_of_the_module": (
        "frontend/distribution/test_random_modules.py::test_a_network_is_not_supported_or_keeps_its_distribution"
    ),
    "frontend/libraries/test_library_posteriors.py::test_laplace_samples": (
        "frontend/test_libraries.py::test_bayesian_torch"
    ),
    "fuzz/test_fenced_runtime.py::test_kernels_stay_inside_their_memory": (
        "runtime/test_verifier.py::test_what_is_let_through_stays_in_its_buffers"
    ),
    "fuzz/test_sample.py::test_nothing_is_found": (
        "fuzz/test_sample.py::test_nothing_is_found_in_the_first_archives"
    ),
    "runtime/test_equality.py::test_thousands_of_random_models": (
        "runtime/test_equality.py::test_random_ensembles_of_all_ops"
    ),
    "runtime/test_verifier.py::test_all_that_is_let_through_stays_in_its_buffers": (
        "runtime/test_verifier.py::test_what_is_let_through_stays_in_its_buffers"
    ),
    "runtime/test_isa.py::test_whole_networks": (
        "runtime/test_microkernel.py::test_every_instruction_set_gives_the_same"
    ),
    "runtime/test_isa.py::test_thousands_of_whole_networks": (
        "runtime/test_microkernel.py::test_every_instruction_set_gives_the_same"
    ),
    "study/test_report_layout.py::test_nothing_is_wider_than_the_screen": (
        "study/test_report.py::test_what_cannot_be_reported"
    ),
    "devices/test_arm64.py::test_the_runtime_on_aarch64": (
        "runtime/test_microkernel.py::test_every_instruction_set_gives_the_same"
    ),
    "docs/test_tutorials.py::test_cells_print_what_the_notebook_says": (
        "docs/test_tutorials.py::test_notebooks_are_those_of_their_pages"
    ),
    "qbnnc/batches/test_formats.py::test_bytes_do_not_depend_on_chunks_or_workers": (
        "qbnnc/batches/test_formats.py::test_every_input_and_output"
    ),
    "qbnnc/batches/test_kills.py::test_killed_at_several_moments": (
        "qbnnc/batches/test_kills.py::test_ctrl_c_tells_what_is_kept"
    ),
    "test_docs.py::test_pages_work_when_pasted_after_the_quick_start": (
        "test_docs.py::test_commands_are_as_the_command_line_takes_them"
    ),
    "conformance/test_layouts_and_members.py::test_batches_that_are_not_first": (
        "conformance/test_layouts_and_members.py::test_one_of_each"
    ),
    "conformance/test_layouts_and_members.py::test_members_inside_one_module": (
        "conformance/test_layouts_and_members.py::test_one_of_each"
    ),
    "conformance/test_norm_accuracy.py::test_stacks": (
        "conformance/test_norms.py::test_engines_agree"
    ),
    "conformance/test_several_inputs.py::test_trained_networks": (
        "conformance/test_several_inputs.py::test_the_file_has_each_input_by_name"
    ),
    "runtime/test_matrices.py::test_what_is_let_through_stays_in_its_buffers": (
        "runtime/test_matrices.py::test_what_is_let_through_of_a_product"
    ),
    "test_docs.py::test_pages_work_when_pasted_alone": (
        "test_docs.py::test_commands_are_as_the_command_line_takes_them"
    ),
    "test_how_to.py::test_python_works_when_pasted": (
        "test_how_to.py::test_the_action_is_yaml_whose_commands_exist"
    ),
}


@cache
def functions_of(file: str) -> tuple[ast.FunctionDef, ...]:
    """The tests of a file; they are functions at its top, never methods."""
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    found = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    return tuple(node for node in found if node.name.startswith("test_"))


def slow_families(file: str) -> set[str]:
    """The tests with cases that a mark of the whole test, or of the file, leaves out."""
    slow = set[str]()
    lines = (TESTS / file).read_text(encoding="utf-8").splitlines()
    whole = any(line.startswith("pytestmark = pytest.mark.slow") for line in lines)
    for node in functions_of(file):
        marks = {*map(ast.unparse, node.decorator_list)}
        marked = whole or marks & LEFT_OUT
        if marked and any(mark.startswith("pytest.mark.parametrize(") for mark in marks):
            slow.add(f"{file}::{node.name}")
    return slow


def test_each_family_has_a_fast_member() -> None:
    assert set().union(*map(slow_families, FILES)) <= STAND_INS.keys()


def test_what_stands_for_a_slow_family_is_there_and_fast() -> None:
    known = {file: {node.name: node for node in functions_of(file)} for file in FILES}
    for slow, fast in STAND_INS.items():
        assert slow.partition("::")[2] in known[slow.partition("::")[0]], slow
        file, _, name = fast.partition("::")
        assert name in known[file], fast
        marks = map(ast.unparse, known[file][name].decorator_list)
        assert not LEFT_OUT & {*marks}, fast


def test_few_cases_are_the_first_the_last_and_some_between() -> None:
    assert [evenly(count, 7) for count in (0, 1, 2, 3, 7)] == [
        [], [0], [0, 6], [0, 3, 6], [0, 1, 2, 3, 4, 5, 6],
    ]  # fmt: skip


def test_a_sample_has_a_case_in_each_part_of_a_family() -> None:
    for total in range(1, 60):
        assert scattered(total, total) == [*range(total)]
        for count in range(1, total + 1):
            ends = [part * total // count for part in range(count + 1)]
            parts = zip(scattered(count, total), pairwise(ends), strict=True)
            assert all(start <= place < end for place, (start, end) in parts)


def test_a_sample_meets_every_value_of_every_parameter() -> None:
    cases = [*product(range(24), range(3), range(4))]
    chosen = [cases[place] for place in scattered(36, len(cases))]
    assert [len({*values}) for values in zip(*chosen, strict=True)] == [24, 3, 4]
