"""The sources that are mutated, and the tests that must notice.

A source has the tests of the first pattern that it matches. A mutant has those that run its lines,
for 12 s of CPU, the quickest first.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]

SCOPE = (
    "ir/arithmetic.py",
    "ir/scales.py",
    "ir/bounds.py",
    "ir/inputs.py",
    "ir/packed_text.py",
    "ir/ranges.py",
    "ir/rng.py",
    "ir/norm_groups.py",
    "ir/ids.py",
    "ir/ops/sum_of_products.py",
    "ir/ops/embedding.py",
    "passes/**/*.py",
    "frontend/convert/**/*.py",
    "frontend/members/*.py",
    "frontend/objects/*.py",
    "runtime/metrics.py",
    "tools/qbnnc/batches/**/*.py",
    "runtime/tables.py",
    "runtime/stream.py",
    "runtime/families/parameters.py",
    "runtime/families/choice/[lp]*.py",
    "runtime/families/embedding/lowering.py",
    "runtime/families/noise/lowering.py",
    "runtime/families/normalization/lowering.py",
    "runtime/families/products/lowering.py",
    "runtime/families/dropout/packed.py",
    "tools/qbnnc/support/frames.py",
    "tools/qbnnc/support/several_inputs.py",
    "tools/qbnnc/sklearn/*.py",
    "tools/qbnnc/lightning/*.py",
    "tools/qbnnc/testing.py",
)

_HEAD, _FUSION, _RANGES = "passes/head", "passes/fusion", "passes/ranges"
_QUANTIZE, _SAMPLING = "passes/integer/test_quantize", "passes/test_sampling"
_BATCHES = "qbnnc/batches"
_CONVERT, _OPS = "frontend/convert", "frontend/convert/ops"
TABLE = {
    "ir/arithmetic.py": "ir/test_arithmetic",
    "ir/scales.py": (
        f"ir/test_arithmetic ir/test_sampling_scales {_RANGES}/test_insert_fake_quantize"
    ),
    "ir/bounds.py": (
        "ir/test_bounds ir/test_softmax ir/test_matmul ir/test_accumulator_bounds "
        "passes/integer/test_prove_overflow"
    ),
    "ir/inputs.py": "ir/test_inputs",
    "ir/ranges.py": "ir/test_ranges ir/test_bounds passes/integer/test_prove_overflow",
    "ir/ops/sum_of_products.py": "ir/test_sum_of_products",
    "ir/packed_text.py": "ir/test_packed_text",
    "ir/rng.py": "ir/test_rng",
    "ir/norm_groups.py": "ir/test_normalize",
    "ir/ids.py": "ir/test_embedding",
    "ir/ops/embedding.py": "ir/test_embedding",
    "runtime/metrics.py": "runtime/test_metrics",
    "runtime/tables.py": "runtime/test_frames",
    "runtime/stream.py": "runtime/test_stream runtime/test_frames",
    "runtime/families/parameters.py": (
        "runtime/test_choices runtime/test_drop_connect runtime/test_sampled"
    ),
    "runtime/families/choice/*.py": "runtime/test_choices",
    "runtime/families/normalization/*.py": "conformance/test_norms",
    "runtime/families/embedding/*.py": "runtime/test_embedding",
    "runtime/families/noise/*.py": "runtime/test_noise_codes",
    "runtime/families/products/*.py": "runtime/test_matrices",
    "runtime/families/dropout/*.py": "runtime/test_drop_connect",
    "tools/qbnnc/support/frames.py": "runtime/test_frames",
    "tools/qbnnc/support/several_inputs.py": "support/test_several_inputs",
    "tools/qbnnc/sklearn/*.py": "qbnnc/test_sklearn",
    "tools/qbnnc/lightning/*.py": "qbnnc/test_lightning",
    "tools/qbnnc/testing.py": "qbnnc/test_testing",
    "passes/ranges/calibrate.py": f"{_RANGES}/test_calibrate {_RANGES}/test_function_domains",
    "passes/ranges/outer_bits.py": f"{_RANGES}/test_outer_bits",
    "passes/ranges/range_search.py": f"{_RANGES}/test_range_search {_RANGES}/test_calibrate",
    "passes/ranges/function_domains.py": f"{_RANGES}/test_function_domains",
    "passes/ranges/quantisation_points.py": (
        f"{_RANGES}/test_quantisation_points {_RANGES}/test_points_of_softmax "
        f"{_RANGES}/test_joined_ranges {_RANGES}/test_calibrate"
    ),
    "passes/ranges/saturation.py": f"{_RANGES}/test_saturation",
    "passes/ranges/unweighted_values.py": f"{_RANGES}/test_unweighted_values",
    "passes/ranges/insert_fake_quantize.py": (
        f"{_RANGES}/test_insert_fake_quantize {_RANGES}/test_joined_ranges {_QUANTIZE} {_SAMPLING}"
    ),
    "passes/fitting/rounding.py": "passes/fitting/test_rounding",
    "passes/fitting/*.py": "passes/fitting/test_fit_layers",
    "passes/fusion/split_layers.py": f"{_FUSION}/test_split_layers",
    "passes/fusion/fold_dropout_scale.py": f"{_FUSION}/test_fold_dropout_scale {_SAMPLING}",
    "passes/fusion/scale_softmax.py": f"{_FUSION}/test_scale_softmax",
    "passes/integer/exponentials.py": "passes/integer/test_exponentials",
    "passes/fusion/fuse_clamps.py": f"{_FUSION}/test_fuse_clamps {_SAMPLING}",
    "passes/fusion/carry_states.py": f"{_FUSION}/test_carry_states",
    "passes/fusion/spread_interpolations.py": f"{_FUSION}/test_spread_interpolations",
    "passes/fusion/fuse_elementwise.py": f"{_FUSION}/test_fuse_elementwise",
    "passes/fusion/*affine.py": (
        f"{_FUSION}/test_fold_products {_FUSION}/test_fold_affine {_SAMPLING} {_QUANTIZE}"
    ),
    "passes/fusion/affine_values.py": f"{_FUSION}/test_fold_affine {_QUANTIZE}",
    "passes/fusion/fold_bands.py": f"{_FUSION}/test_fold_bands",
    "passes/fusion/recognise_norms.py": f"{_FUSION}/test_recognise_norms",
    "passes/fusion/group_statistics.py": f"{_FUSION}/test_recognise_norms",
    "passes/fusion/noise.py": f"backends/test_torch_network {_SAMPLING}",
    "passes/head/mean_and_variance.py": f"{_HEAD}/test_mean_and_variance {_HEAD}/test_assign_head",
    "passes/head/intervals.py": f"{_HEAD}/test_intervals {_HEAD}/test_regression_head",
    "passes/head/*.py": f"{_HEAD}/test_regression_head {_HEAD}/test_assign_head",
    "passes/integer/accumulators.py": f"passes/integer/test_prove_overflow {_QUANTIZE}",
    "passes/integer/constants.py": f"{_RANGES}/test_function_domains {_QUANTIZE} {_SAMPLING}",
    "passes/mixed_precision/*.py": "study/test_auto_bits study/test_sensitivity",
    "passes/recorded_options.py": "qbnnc/test_source_check",
    "passes/**/*.py": f"{_FUSION}/test_fold_affine {_SAMPLING} {_QUANTIZE} passes/test_pipeline",
    "passes/*.py": f"{_FUSION}/test_fold_affine {_SAMPLING} {_QUANTIZE} passes/test_pipeline",
    "frontend/convert/layouts/*.py": (
        f"{_CONVERT}/layouts/test_networks {_CONVERT}/layouts/test_layout "
        f"{_CONVERT}/layouts/test_refused"
    ),
    "frontend/convert/constant_folding.py": (
        f"{_CONVERT}/test_constants {_CONVERT}/test_start_states"
    ),
    "frontend/convert/member_axes.py": "frontend/members/test_members",
    "frontend/members/*.py": "frontend/members/test_members frontend/members/test_narrow",
    "frontend/convert/*_noise.py": (
        f"{_CONVERT}/test_noise_on_activations {_CONVERT}/test_refused_noise"
    ),
    f"{_OPS}/computed_constants.py": f"{_CONVERT}/layouts/test_networks",
    f"{_OPS}/joined_constants.py": f"{_CONVERT}/test_attention",
    f"{_OPS}/contraction*.py": f"{_CONVERT}/test_attention {_CONVERT}/test_element_moves",
    f"{_OPS}/running_sums.py": f"{_CONVERT}/test_element_moves",
    f"{_OPS}/pooling.py": f"{_CONVERT}/test_pooling",
    f"{_OPS}/elementwise_*.py": f"{_CONVERT}/test_elementwise_functions",
    f"{_OPS}/convolutions.py": f"{_CONVERT}/test_convolutions {_CONVERT}/test_ops",
    f"{_OPS}/volume*.py": f"{_CONVERT}/test_volumes",
    f"{_OPS}/reductions.py": f"{_CONVERT}/test_reductions {_CONVERT}/test_element_moves",
    f"{_OPS}/shapes.py": (
        f"{_CONVERT}/test_casts {_CONVERT}/test_element_moves {_CONVERT}/test_ops"
    ),
    f"{_OPS}/recurrent*.py": (
        f"{_CONVERT}/test_recurrent {_CONVERT}/test_start_states {_CONVERT}/test_weight_drop"
    ),
    f"{_OPS}/unpooling.py": f"{_CONVERT}/test_unpooling",
    f"{_OPS}/writes.py": f"{_CONVERT}/test_writes",
    f"{_CONVERT}/zero_states.py": f"{_CONVERT}/test_start_states",
    f"{_CONVERT}/images.py": f"{_CONVERT}/test_unpooling {_CONVERT}/test_convolutions",
    f"{_OPS}/powers.py": f"{_CONVERT}/test_elementwise_functions {_CONVERT}/test_ops",
    f"{_OPS}/comparisons.py": f"{_CONVERT}/test_elementwise_functions {_CONVERT}/test_ops",
    f"{_OPS}/graph_analysis.py": f"{_CONVERT}/test_elementwise_functions {_CONVERT}/test_ops",
    f"{_OPS}/normalisation.py": f"{_CONVERT}/test_normalisation",
    f"{_OPS}/resizing.py": f"{_CONVERT}/test_resizing",
    f"{_OPS}/embedding.py": f"{_CONVERT}/test_embedding",
    f"{_OPS}/id_functions.py": f"{_CONVERT}/test_embedding",
    f"{_CONVERT}/ids.py": f"{_CONVERT}/test_embedding",
    f"{_OPS}/e*.py": f"{_CONVERT}/test_element_moves {_CONVERT}/test_ops",
    f"{_OPS}/sampled_vectors.py": f"{_CONVERT}/test_correlated_weights",
    f"{_OPS}/[ps]*.py": f"{_CONVERT}/test_element_moves {_CONVERT}/test_ops",
    f"{_OPS}/*.py": f"{_CONVERT}/test_biases {_CONVERT}/test_flipout {_CONVERT}/test_ops",
    f"{_CONVERT}/dropout_masks/*.py": (
        f"{_CONVERT}/test_dropout_spellings {_CONVERT}/test_mask_views"
    ),
    f"{_CONVERT}/sampled_weights/flipout.py": f"{_CONVERT}/test_flipout",
    f"{_CONVERT}/sampled_weights/[cln]*.py": f"{_CONVERT}/test_correlated_weights",
    f"{_CONVERT}/sampled_weights/*.py": (
        f"{_CONVERT}/test_correlated_weights {_CONVERT}/test_sampled_weights "
        f"{_CONVERT}/test_sampled_not_supported {_CONVERT}/test_flipout"
    ),
    f"{_CONVERT}/noise.py": (
        f"{_CONVERT}/test_dropout_spellings {_CONVERT}/test_sampled_not_supported"
    ),
    f"{_CONVERT}/draw_sources.py": f"{_CONVERT}/test_mask_views {_CONVERT}/test_sampled_weights",
    f"{_CONVERT}/parts_of_row.py": "frontend/test_several_inputs",
    f"{_CONVERT}/unsupported_*.py": f"{_CONVERT}/test_elementwise_functions {_CONVERT}/test_ops",
    f"{_CONVERT}/*.py": f"{_CONVERT}/test_convert {_CONVERT}/test_derived {_CONVERT}/test_ops",
    "frontend/objects/*.py": (
        "frontend/objects/test_same_gaussian frontend/objects/test_refused_objects "
        "frontend/objects/test_reading_objects"
    ),
    "tools/qbnnc/batches/reading/*.py": f"{_BATCHES}/test_reading {_BATCHES}/test_formats",
    "tools/qbnnc/batches/workers/*.py": f"{_BATCHES}/test_workers",
    "tools/qbnnc/batches/writing/*.py": (
        f"{_BATCHES}/test_formats {_BATCHES}/test_resuming {_BATCHES}/test_command"
    ),
    "tools/qbnnc/batches/*.py": (
        f"{_BATCHES}/test_resuming {_BATCHES}/test_command {_BATCHES}/test_formats"
    ),
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
    parts = ["qbnnc", *Path(path.removeprefix("tools/qbnnc/")).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
