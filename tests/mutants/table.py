"""The sources that are mutated, and the tests that must notice, those that notice most first.

A source has the tests of the first pattern that it matches. A mutant has about 12 s of them.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]

SCOPE = (
    "ir/arithmetic.py",
    "ir/scales.py",
    "ir/bounds.py",
    "ir/ranges.py",
    "ir/rng.py",
    "passes/**/*.py",
    "frontend/convert/**/*.py",
    "runtime/metrics.py",
)

_CONVERT, _OPS = "frontend/convert", "frontend/convert/ops"
TABLE = {
    "ir/arithmetic.py": "ir/test_arithmetic",
    "ir/scales.py": "ir/test_arithmetic ir/test_sampling_scales passes/test_insert_fake_quantize",
    "ir/bounds.py": "ir/test_bounds ir/test_accumulator_bounds passes/test_prove_overflow",
    "ir/ranges.py": "ir/test_ranges ir/test_bounds passes/test_prove_overflow",
    "ir/rng.py": "ir/test_rng",
    "runtime/metrics.py": "runtime/test_metrics",
    "passes/calibrate.py": "passes/test_calibrate passes/test_function_domains",
    "passes/range_search.py": "passes/test_range_search passes/test_calibrate",
    "passes/function_domains.py": "passes/test_function_domains",
    "passes/lookup_tables.py": "passes/test_function_domains passes/test_quantize",
    "passes/rounding.py": "passes/test_rounding",
    "passes/*_layers.py": "passes/test_split_layers passes/test_fit_layers",
    "passes/paired_evaluation.py": "passes/test_fit_layers",
    "passes/im2col.py": "passes/test_fit_layers",
    "passes/fold_dropout_scale.py": "passes/test_fold_dropout_scale passes/test_sampling",
    "passes/fuse_clamps.py": "passes/test_fuse_clamps passes/test_sampling",
    "passes/fuse_elementwise.py": "passes/test_fuse_elementwise",
    "passes/*affine.py": "passes/test_fold_affine passes/test_sampling passes/test_quantize",
    "passes/affine_values.py": "passes/test_fold_affine passes/test_quantize",
    "passes/quantisation_points.py": (
        "passes/test_quantisation_points passes/test_joined_ranges passes/test_calibrate"
    ),
    "passes/insert_fake_quantize.py": (
        "passes/test_insert_fake_quantize passes/test_joined_ranges passes/test_quantize "
        "passes/test_sampling"
    ),
    "passes/mean_and_variance.py": "passes/test_mean_and_variance passes/test_assign_head",
    "passes/intervals.py": "passes/test_intervals passes/test_regression_head",
    "passes/*_head.py": "passes/test_regression_head passes/test_assign_head",
    "passes/strip_*.py": "passes/test_assign_head",
    "passes/fold_constant_outputs.py": "passes/test_assign_head",
    "passes/remove_noise.py": "backends/test_torch_network",
    "passes/mixed_precision/*.py": "study/test_auto_bits study/test_sensitivity",
    "passes/*.py": (
        "passes/test_fold_affine passes/test_sampling passes/test_quantize passes/test_pipeline"
    ),
    f"{_OPS}/pooling.py": f"{_CONVERT}/test_pooling",
    f"{_OPS}/elementwise_*.py": f"{_CONVERT}/test_elementwise_functions",
    f"{_OPS}/convolutions.py": f"{_CONVERT}/test_convolutions {_CONVERT}/test_ops",
    f"{_OPS}/reductions.py": f"{_CONVERT}/test_reductions {_CONVERT}/test_element_moves",
    f"{_OPS}/shapes.py": (
        f"{_CONVERT}/test_casts {_CONVERT}/test_element_moves {_CONVERT}/test_ops"
    ),
    f"{_OPS}/powers.py": f"{_CONVERT}/test_elementwise_functions {_CONVERT}/test_ops",
    f"{_OPS}/comparisons.py": f"{_CONVERT}/test_elementwise_functions {_CONVERT}/test_ops",
    f"{_OPS}/graph_analysis.py": f"{_CONVERT}/test_elementwise_functions {_CONVERT}/test_ops",
    f"{_OPS}/e*.py": f"{_CONVERT}/test_element_moves {_CONVERT}/test_ops",
    f"{_OPS}/[ps]*.py": f"{_CONVERT}/test_element_moves {_CONVERT}/test_ops",
    f"{_OPS}/*.py": f"{_CONVERT}/test_biases {_CONVERT}/test_flipout {_CONVERT}/test_ops",
    f"{_CONVERT}/dropout_masks/*.py": (
        f"{_CONVERT}/test_dropout_spellings {_CONVERT}/test_mask_views"
    ),
    f"{_CONVERT}/sampled_weights/flipout.py": f"{_CONVERT}/test_flipout",
    f"{_CONVERT}/sampled_weights/*.py": (
        f"{_CONVERT}/test_sampled_weights {_CONVERT}/test_sampled_not_supported "
        f"{_CONVERT}/test_flipout"
    ),
    f"{_CONVERT}/noise.py": (
        f"{_CONVERT}/test_dropout_spellings {_CONVERT}/test_sampled_not_supported"
    ),
    f"{_CONVERT}/draw_sources.py": f"{_CONVERT}/test_mask_views {_CONVERT}/test_sampled_weights",
    f"{_CONVERT}/unsupported_*.py": f"{_CONVERT}/test_elementwise_functions {_CONVERT}/test_ops",
    f"{_CONVERT}/*.py": f"{_CONVERT}/test_convert {_CONVERT}/test_derived {_CONVERT}/test_ops",
}

PACKAGES = {"qbnnc", "tests", "models"}  # each trial imports these anew


def sources() -> list[str]:
    """The paths of all sources to mutate, from the root, sorted."""
    found = {path for pattern in SCOPE for path in ROOT.glob(pattern)}
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def pattern_of(path: str) -> str:
    """The pattern of the table that a source has its tests from; LookupError if there is none."""
    for pattern in TABLE:
        if PurePosixPath(path).match(pattern):
            return pattern
    raise LookupError(f"{path}: no pattern of the table of tests")


def watching_tests(path: str) -> tuple[str, ...]:
    """The files of tests that run on mutants of a source."""
    return tuple(f"tests/{name}.py" for name in TABLE[pattern_of(path)].split())


def module(path: str) -> str:
    """The import name of a source."""
    parts = ["qbnnc", *Path(path).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
