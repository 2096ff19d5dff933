"""AWQ layers: values of AutoAWQ, the same matrix as compressed-tensors, refusals."""

import numpy as np
import pytest
from _helpers.layouts import array, cases, decoded, values

from sim.sources.readers import compressed_tensors
from sim.sources.readers.awq import open_layout

CASES = cases("awq")


def arrays(golden):
    return {name: array(golden[name]) for name in ("qweight", "qzeros", "scales")}


@pytest.mark.parametrize("version", CASES)
def test_values_are_those_of_autoawq(version):
    golden = CASES[version]
    expected = array(golden["expected_out_in"])
    settings = {"bits": 4, "group_size": golden["group_size"], "version": version.upper()}
    ours = values(decoded(open_layout(settings, {}), arrays(golden), expected.shape))
    np.testing.assert_array_equal(ours.astype(expected.dtype), expected)


@pytest.mark.parametrize("version", CASES)
def test_without_zero_points_codes_are_offset_by_eight(version):
    golden = CASES[version]
    shape = tuple(golden["expected_out_in"]["shape"])
    settings = {"bits": 4, "group_size": golden["group_size"], "version": version.upper()}
    eights = arrays(golden) | {"qzeros": np.full_like(arrays(golden)["qzeros"], -0x77777778)}
    expected = values(decoded(open_layout(settings, {}), eights, shape))
    symmetric = open_layout(settings | {"zero_point": False}, {})
    del eights["qzeros"]
    np.testing.assert_array_equal(values(decoded(symmetric, eights, shape)), expected)


def test_the_same_matrix_in_compressed_tensors_has_the_same_values():
    golden = CASES["gemm"]
    shape = tuple(golden["expected_out_in"]["shape"])
    other = {name: array(a) for name, a in golden["same_as_compressed_tensors"].items()}
    weights = {"num_bits": 4, "symmetric": False, "strategy": "group", "group_size": 32}
    settings = {
        "format": "pack-quantized",
        "config_groups": {"g": {"targets": ["Linear"], "weights": weights}},
    }
    theirs = decoded(compressed_tensors.open_layout(settings, {}), other, shape)
    ours = decoded(open_layout({"w_bit": 4, "q_group_size": 32}, {}), arrays(golden), shape)
    np.testing.assert_array_equal(values(ours), values(theirs))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"version": "gemv_fast"}, "version gemv_fast can't be read; gemm and gemv can"),
        ({"bits": 8}, "bits must be 4, not 8"),
        ({"group_size": 64}, r"m.scales is F16\[2, 32\], but .*\[1, 32\]"),
        ({"version": "gemv"}, r"m.qweight is I32\[64, 4\], but .* I32\[32, 8\]"),
        ({"zero_point": "yes"}, 'zero_point must be true or false, not "yes"'),
    ],
)
def test_settings_that_contradict_the_tensors_are_refused(settings, message):
    golden = CASES["gemm"]
    with pytest.raises(ValueError, match=message):
        decoded(open_layout({"bits": 4, "group_size": 32} | settings, {}), arrays(golden), (32, 64))
