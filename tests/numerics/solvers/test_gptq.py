"""GPTQ: published vectors, a short float64 reference, and properties of every scheme."""

import numpy as np
import pytest
from _helpers.solvers import damped, layer, reference

from numerics import fake_quantize, parse_scheme
from numerics.solvers.gptq import gptq, gptq_layers
from numerics.solvers.hessian import factorize, output_error

#: One scheme for each kind of side data: scales only, zero point, float minimum, two levels, E8M0,
#: selector, value table, codebook of a row.
SCHEMES = (
    "fp4:g32",
    "int3:g32:asym",
    "int4-floatmin",
    "nvfp4",
    "mxfp4",
    "bitmod-fp4:g32",
    "nf4:g64",
)
#: Schemes whose clip searches compile for seconds; their layout is also compared without a clip.
LONG = ("int4-floatmin", "nvfp4", "mxfp4", "nf4:g64")


def values(solution) -> np.ndarray:
    return np.asarray(solution.weight.dequantize(), np.float64)


@pytest.mark.parametrize(
    ("scheme", "order", "mse", "row", "expected"),
    [
        ("int3:channel:asym:fp32", "natural", 0.01988148, 0,
         [-1.07142854, -.26785713, .26785713, .8035714, -.53571427, 0, .53571427, -.8035714]),
        ("int3:channel:asym:fp32", "natural", 0.01988148, 2,
         [.69642854, 0, -.69642854, .69642854, -.23214285, -.9285714, .4642857, -.4642857]),
        ("int3:g4:asym:fp32", "natural", 0.01317488, 2,
         [.64285713, 0, -.64285713, .64285713, -.19642857, -.78571427, .39285713, -.19642857]),
        ("int3:g4:asym:fp32", "activation", 0.02207397, 1,
         [0, .8035714, -.32142857, .8035714, -.32142857, .48214287, -.48214287, .48214287]),
        ("int4:channel:asym:fp32", "natural", 0.00183879, 2,
         [.75833333, 0, -.75833333, .64999998, -.10833333, -.86666667, .54166669, -.21666667]),
        ("fp4:g4:fp32", "natural", 0.02186245, 2,
         [.75, 0, -.75, .5, -.07291666, -.875, .58333331, -.29166666]),
    ],
)  # fmt: skip
def test_codes_of_a_small_layer_are_those_of_the_public_code(
    vector_b, scheme, order, mse, row, expected
):
    weight, x, hessian = vector_b
    found = values(gptq(weight, hessian, parse_scheme(scheme), order=order, clip=False))
    assert found[row] == pytest.approx(expected, abs=1e-6)
    assert ((x @ (found - weight).T) ** 2).mean() == pytest.approx(mse, abs=5e-9)


@pytest.mark.parametrize("order", ["natural", "activation", "group"])
def test_values_and_loss_equal_the_reference_in_float64(order):
    weight, hessian = layer(width=160)
    scheme = parse_scheme("int4:g32:fp32")
    found = gptq(weight, hessian, scheme, order=order, clip=False)
    scales = np.asarray(found.weight.scales, np.float64)

    def round_column(column, index, _):
        scale = scales[:, index // 32]
        return np.clip(np.rint(column / scale), scheme.element.min, scheme.element.max) * scale

    columns = factorize(hessian, order=order, group_size=32).order
    expected, loss = reference(weight, hessian, round_column, columns)
    # Float32 and float64 sums differ slightly, so codes of values near a tie may differ.
    assert (np.abs(values(found) - expected) < 1e-6).mean() > 0.999
    assert found.loss == pytest.approx(loss, rel=1e-3)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in LONG)) for n in SCHEMES]
)
def test_the_loss_is_the_damped_error_of_the_outputs_and_below_that_of_rounding(name):
    weight, hessian = layer()
    scheme = parse_scheme(name)
    found = gptq(weight, hessian, scheme)
    h = damped(hessian)
    assert found.loss == pytest.approx(output_error(values(found) - weight, h), rel=1e-4)
    nearest = np.asarray(fake_quantize(weight, scheme), np.float64)
    assert found.loss < 0.75 * output_error(nearest - weight, h)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in LONG[:2])) for n in SCHEMES]
)
def test_side_data_are_those_of_the_scheme_where_nothing_is_clipped(name):
    weight, hessian = layer()
    scheme = parse_scheme(name)
    found, nearest = gptq(weight, hessian, scheme, clip=False).weight, scheme.quantize(weight)
    assert set(found.arrays) == set(nearest.arrays)
    for array in set(nearest.arrays) - {"codes"}:
        assert (np.asarray(found.arrays[array]) == np.asarray(nearest.arrays[array])).all()


@pytest.mark.parametrize("name", SCHEMES)
def test_without_correlations_codes_are_those_of_rounding(name):
    weight, _ = layer()
    scheme = parse_scheme(name)
    found = gptq(weight, np.eye(weight.shape[1]), scheme, clip=False)
    assert (values(found) == np.asarray(fake_quantize(weight, scheme))).all()


def test_codes_do_not_depend_on_the_scale_of_the_hessian():
    weight, hessian = layer()
    first, second = (gptq(weight, c * hessian, parse_scheme("int3:g32")) for c in (1.0, 1024.0))
    assert (first.weight.codes == second.weight.codes).all()


def test_permuting_columns_of_a_row_scheme_permutes_its_codes():
    weight, hessian = layer()
    scheme, mixed = parse_scheme("int4:channel:fp32"), np.random.default_rng(1).permutation(64)
    straight = gptq(weight, hessian, scheme).weight.codes
    permuted = gptq(weight[:, mixed], hessian[np.ix_(mixed, mixed)], scheme).weight.codes
    assert (np.asarray(straight)[:, mixed] == np.asarray(permuted)).mean() > 0.999


def test_a_dead_column_is_zero_and_changes_no_other():
    weight, hessian = layer(width=63)
    wide = np.insert(weight, 63, 5.0, axis=1)
    padded = np.pad(hessian, [(0, 1), (0, 1)])
    scheme = parse_scheme("int4:channel:fp32")
    alone, beside = (values(gptq(w, h, scheme)) for w, h in ((weight, hessian), (wide, padded)))
    assert (beside[:, 63] == 0).all()
    assert (beside[:, :63] == alone).all()


def test_a_clip_weighted_by_the_hessian_helps_where_one_column_matters():
    weight, _ = layer(rows=64)
    hessian = np.diag(np.r_[1e-3, np.ones(63)])
    weight[:, 0] *= 4
    scheme = parse_scheme("int3:channel")
    clipped, plain = (gptq(weight, hessian, scheme, clip=c).loss for c in (True, False))
    assert clipped < 0.5 * plain


def test_a_nonnegative_group_uses_the_full_symmetric_range():
    weight = np.float32([[0.02, 0.04, 0.06, 0.08]])
    found = gptq(weight, np.eye(4), parse_scheme("int4:g4:fp32"), clip=False)
    assert values(found) == pytest.approx(np.rint(weight / (0.08 / 7)) * 0.08 / 7, abs=1e-8)


def test_wide_integers_lose_next_to_nothing():
    weight, hessian = layer()
    found = gptq(weight, hessian, parse_scheme("int8:channel:fp32"))
    assert np.abs(values(found) - weight).max() < 0.05


@pytest.mark.parametrize(
    ("name", "clip"),
    [
        ("int4:g32", True),
        ("bitmod-fp4:g32", False),
        pytest.param("bitmod-fp4:g32", True, marks=pytest.mark.slow),
    ],
)
def test_matrices_of_one_input_are_solved_together_as_each_alone(name, clip):
    weight, hessian = layer()
    scheme = parse_scheme(name)
    matrices = weight[:16], weight[16:]
    parts = gptq_layers(matrices, hessian, scheme, clip=clip)
    for part, rows in zip(parts, matrices, strict=True):
        alone = gptq(rows, hessian, scheme, clip=clip)
        assert all((part.weight.arrays[n] == a).all() for n, a in alone.weight.arrays.items())
        assert part.loss == pytest.approx(alone.loss, rel=1e-5)


def test_codes_of_tokens_are_refused_with_what_would_work():
    weight, hessian = layer()
    with pytest.raises(ValueError, match="for weights take int8 or int8-2-of-4"):
        gptq(weight, hessian, parse_scheme("int8-top54"))
