"""Every kind of scheme in the column loop: codes, invariants, and what each rounder is for."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from _helpers.solvers import damped, layer, reference

from numerics import SCHEMES, fake_quantize, parse_scheme, quantize
from numerics.codebooks import e8p
from numerics.mixtures.olive import OUTLIERS
from numerics.solvers.gptq import gptq
from numerics.solvers.hessian import factorize, output_error
from numerics.solvers.rounder import rounder_of

#: One scheme for each rounder, with the largest part of the error of rounding that is left.
KINDS = {
    "int4-awq:g32": 0.7,
    "olive4": 0.7,
    "int4-2-of-4:g32": 0.8,
    "e8p": 0.8,
    "aqlm-2x4": 0.9,
    "vptq-v4-k16-16": 0.9,
    "kmeans3": 0.8,
    "q4_0": 0.7,
    "fbi-binary": 0.9,
}
#: Schemes whose rounders differ from one of the above only in side data; these compile for seconds.
MORE = {
    "q4_k": 0.8, "q6_k": 0.8, "any-precision": 0.8, "any-precision-4": 0.8,
    "vptq-v4-k16-0-o5-v2-k16": 0.9,
}  # fmt: skip
#: Schemes that column solvers refuse.
REFUSED = {"int8-top54", "int8-top39"}


def values(solution) -> np.ndarray:
    return np.asarray(solution.weight.dequantize(), np.float64)


def check(name: str, weight, hessian, most: float) -> None:
    """Check codes, loss and improvement of a scheme."""
    scheme = parse_scheme(name)
    found = gptq(weight, hessian, scheme)
    assert set(found.weight.arrays) == set(quantize(weight, scheme).arrays)
    fields = {field.name: field for field in scheme.layout(weight.shape)}
    for array, stored in found.weight.arrays.items():
        assert (stored.shape, stored.dtype) == (fields[array].shape, fields[array].dtype)
    h = damped(hessian)
    assert found.loss == pytest.approx(output_error(values(found) - weight, h), rel=1e-3)
    nearest = np.asarray(fake_quantize(weight, scheme), np.float64)
    assert found.loss < most * output_error(nearest - weight, h)


@pytest.mark.parametrize("name", KINDS)
def test_the_loss_is_the_damped_error_and_below_that_of_rounding(name):
    check(name, *layer(24, 64), KINDS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE)
def test_the_loss_of_large_blocks_is_the_damped_error(name):
    check(name, *layer(24, 256, tokens=800), MORE[name])


@pytest.mark.parametrize("name", SCHEMES)
def test_every_scheme_has_a_rounder_or_a_reason(name):
    if name in REFUSED:
        with pytest.raises(ValueError, match=f"{name} .*; for weights take "):
            rounder_of(SCHEMES[name], (24, 256))
    else:
        assert rounder_of(SCHEMES[name], (24, 256)).scheme == SCHEMES[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(SCHEMES) - REFUSED))
def test_every_scheme_is_solved_with_exact_codes(name):
    weight, hessian = layer(16, 256, tokens=800)
    found = gptq(weight, hessian, SCHEMES[name])
    error = output_error(values(found) - weight, damped(hessian))
    assert found.loss == pytest.approx(error, rel=1e-3)


def test_selectors_are_chosen_by_the_error_weighted_with_the_hessian():
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(32, 64)).astype(np.float32)
    importance = np.float32(rng.gamma(0.1, size=64))
    scheme = parse_scheme("bitmod-fp3:g32")
    rounder = rounder_of(scheme, weight.shape)
    plain, found = (rounder.fit(jnp.asarray(weight), i) for i in (None, jnp.asarray(importance)))

    def errors(side):
        """Return each group's weighted error of rounding to the nearest value of its candidate."""
        tables = np.array([fmt.values for fmt in scheme.formats])[np.asarray(side["selectors"])]
        grid = tables * np.float64(side["scales"])[..., None]
        blocks = weight.reshape(32, 2, 32)
        distance = np.abs(blocks[..., None] - grid[:, :, None]).min(axis=-1)
        return (importance.reshape(2, 32) * distance**2).sum(axis=-1)

    assert (errors(found) <= errors(plain) * (1 + 1e-6)).all()
    assert errors(found).sum() < 0.8 * errors(plain).sum()
    assert (found["selectors"] != plain["selectors"]).mean() > 0.1
    others = [{**found, "selectors": np.full((32, 2), number)} for number in range(4)]
    least = np.min([errors(other) for other in others], axis=0)
    # A scale between those tried may suit another candidate better, but by little.
    assert errors(found).sum() < 1.03 * least.sum()


@pytest.mark.parametrize("name", ["nvfp4", "nvfp4-ct"])
def test_the_tensor_scale_of_two_levels_is_that_of_the_float_matrix(name):
    weight, hessian = layer(16, 32)
    weight[0, 0] = 30
    scheme = parse_scheme(name)
    found, nearest = gptq(weight, hessian, scheme).weight, quantize(weight, scheme)
    level = "global_scale" if name == "nvfp4-ct" else "tensor_scale"
    assert found.arrays[level] == nearest.arrays[level]
    assert (np.asarray(found.scales) != np.asarray(nearest.scales)).any()


def test_searched_exponents_of_mx_are_better_than_those_of_floor_and_of_rceil():
    weight, hessian = layer(32, 64)
    importance = np.diag(hessian).astype(np.float32)
    rounder = rounder_of(parse_scheme("mxfp4"), weight.shape)

    def error(side, scheme):
        scales = np.repeat(np.asarray(side, np.float64), 32, axis=1)
        grid = np.array(scheme.element.values)
        found = np.abs(weight[..., None] / scales[..., None] - grid).min(axis=-1) * scales
        return (importance * found**2).sum()

    searched = error(rounder.fit(jnp.asarray(weight), jnp.asarray(importance))[0].scales,
                     rounder.scheme)  # fmt: skip
    for name in ("mxfp4", "mxfp4-rceil"):
        scheme = parse_scheme(name)
        assert searched < 0.98 * error(quantize(weight, scheme).scales, scheme)


def test_pairs_take_the_best_of_normal_values_and_outliers_as_in_float64():
    weight, hessian = layer(24, 64)
    weight[:, ::7] *= 6
    scheme = parse_scheme("olive4")
    found = gptq(weight, hessian, scheme, clip=False)
    scales = np.float64(found.weight.scales)
    normal = np.array([s * m for m in scheme.magnitudes for s in (1, -1)])
    outlier = np.array([s * m for m in OUTLIERS[4] for s in (1, -1)])

    def nearest(x, grid):
        grid = grid * scales[:, None]
        return np.take_along_axis(grid, np.abs(x[:, None] - grid).argmin(1)[:, None], 1)[:, 0]

    def round_pair(w, _, u):
        def right(left):
            return w[:, 1] - (w[:, 0] - left) / u[0, 0] * u[0, 1]

        zero, a, b = np.zeros(len(w)), nearest(w[:, 0], normal), nearest(w[:, 0], outlier)
        tried = ((a, nearest(right(a), normal)), (b, zero), (zero, nearest(right(zero), outlier)))
        pairs = np.stack([np.stack(pair, axis=1) for pair in tried])
        best = (((w - pairs) @ np.linalg.inv(u)) ** 2).sum(axis=2).argmin(axis=0)
        return pairs[best, np.arange(len(w))]

    columns = factorize(hessian, unit=2).order
    expected, loss = reference(weight, hessian, round_pair, columns, unit=2)
    assert (np.abs(values(found) - expected) < 1e-5).mean() > 0.999
    assert found.loss == pytest.approx(loss, rel=1e-3)
    is_victim = np.asarray(found.weight.codes) == scheme.mark
    assert is_victim.any() and (values(found)[is_victim] == 0).all()


def test_an_unpaired_value_is_not_an_outlier():
    weight, hessian = layer(24, 63)
    weight[:, 62] = 30
    found = gptq(weight, hessian, parse_scheme("olive4")).weight
    assert (np.abs(np.asarray(found.dequantize())[:, 62]) <= 32 * np.asarray(found.scales)).all()


def test_the_mask_of_sparsity_is_that_of_sparsegpt():
    """The published code keeps these places, with the error fed back, of a layer of 3 rows."""
    weight = np.float32(
        [[0.5, -0.25, 0.125, 1.0], [-1.5, 0.75, 0.3, -0.1], [0.02, 0.04, -0.06, 0.08]]
    )
    x = np.array([[1.0, 0.1, -8.0, 0.5], [-0.7, 0.02, 5.0, 0.25], [0.3, -0.15, 2.0, -1.0],
                  [0.9, 0.05, -6.5, 0.75]])  # fmt: skip
    scheme = dataclasses.replace(parse_scheme("int8-2-of-4"), size=4)
    found = values(gptq(weight, 2 * x.T @ x, scheme, order="natural"))
    expected = [
        [0, 0, 0.05270695, 0.81723541],
        [-1.5, 0, 0.29780087, 0],
        [0, 0, -0.06303833, 0.0775071],
    ]
    assert ((found != 0) == (np.array(expected) != 0)).all()
    # Kept values are rounded to a step of amax / 127, whose error is fed back to the next.
    step = np.abs(expected).max(axis=1, keepdims=True) / 127
    assert (np.abs(found - expected) < 2 * step).all()


def test_points_of_e8p_are_nearest_in_the_metric_of_the_unit():
    weight, hessian = layer(8, 16)
    found = gptq(weight, hessian, parse_scheme("e8p"))
    points = e8p.points() / 4
    scales = np.float64(found.weight.scales)

    def round_vector(w, _, u):
        inverse = np.linalg.inv(u)
        lifted = points @ inverse
        z = (w / scales[:, None]) @ inverse
        distances = (lifted**2).sum(axis=1) - 2 * z @ lifted.T
        return points[distances.argmin(axis=1)] * scales[:, None]

    columns = factorize(hessian, unit=8).order
    expected, loss = reference(weight, hessian, round_vector, columns, unit=8)
    assert found.loss == pytest.approx(loss, rel=1e-3)
    assert (np.abs(values(found) - expected) < 1e-5).mean() > 0.98


@pytest.mark.parametrize(
    ("name", "unused"), [("twn:g32", 3), ("int4-lorc2:g32", 8), ("ant4-mixed:g32", 8)]
)
def test_codes_outside_the_range_of_their_format_are_not_used(name, unused):
    weight, hessian = layer()
    found = gptq(weight, hessian, parse_scheme(name)).weight
    codes = np.asarray(found.codes)
    if name == "ant4-mixed:g32":
        # The first candidate is the integer format, without the code of -8.
        codes = codes.reshape(24, 2, 32)[np.asarray(found.arrays["selectors"]) == 0]
    assert codes.size and unused not in codes


def test_rows_are_padded_to_whole_vectors():
    # Rows as in the test of the loss of each kind, whose compiled programs partly serve again.
    weight, hessian = layer(24, 60)
    check("aqlm-2x4", weight, hessian, 0.95)


@pytest.mark.parametrize(
    "name", ["kmeans3", pytest.param("any-precision-4", marks=pytest.mark.slow)]
)
def test_tables_of_rows_are_trained_with_the_weights_of_columns(name):
    weight, _ = layer(16, 256)
    importance = np.float32(np.random.default_rng(1).gamma(0.2, size=256))
    rounder = rounder_of(parse_scheme(name), weight.shape)

    def error(importance_of_fit):
        table = np.float64(rounder.fit(jnp.asarray(weight), importance_of_fit)["codebook"])
        distance = np.abs(weight[..., None] - table[:, None]).min(axis=-1)
        return (importance * distance**2).sum()

    assert error(jnp.asarray(importance)) < 0.9 * error(None)


@pytest.mark.parametrize("name", ["q4_0", "q4_1", pytest.param("q4_k", marks=pytest.mark.slow)])
def test_blocks_of_gguf_have_less_weighted_error_than_those_of_ggml(name):
    weight, _ = layer(8, 256)
    importance = np.float32(np.random.default_rng(1).gamma(0.2, size=256))
    scheme = parse_scheme(name)
    solved = gptq(weight, np.diag(importance).astype(float), scheme, damping=0.0).weight
    errors = [
        (importance * (np.asarray(q.dequantize()) - weight) ** 2).sum()
        for q in (solved, quantize(weight, scheme))
    ]
    assert errors[0] < 0.9 * errors[1]
