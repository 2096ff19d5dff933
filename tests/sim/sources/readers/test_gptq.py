"""GPTQ layers: values of GPTQModel, planes against one code at a time, refusals."""

import numpy as np
import pytest
from _helpers.layouts import array, cases, decoded, values

from sim.sources.readers.gptq import PLANES, open_layout

CASES = cases("gptq")
VERSIONS = {"gptq": "qzeros_v1", "gptq_v2": "qzeros_v2"}


def arrays(golden, zeros):
    names = {"qweight": "qweight", "qzeros": zeros, "scales": "scales", "g_idx": "g_idx"}
    return {name: array(golden[source]) for name, source in names.items()}


def layout(golden, version, **more):
    given = {name: golden[name] for name in ("bits", "group_size", "sym", "desc_act")}
    return open_layout(given | {"checkpoint_format": version} | more, {})


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", CASES)
def test_values_are_those_of_gptqmodel(name, version):
    golden = CASES[name]
    expected = array(golden["expected_out_in"])
    found = decoded(layout(golden, version), arrays(golden, VERSIONS[version]), expected.shape)
    np.testing.assert_array_equal(values(found).astype(expected.dtype), expected)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_symmetric_file_with_the_label_of_the_other_version_is_read_right(version):
    golden = CASES["gptq-int4-g32-sym"]
    (other,) = set(VERSIONS) - {version}
    expected = array(golden["expected_out_in"])
    found = decoded(layout(golden, version), arrays(golden, VERSIONS[other]), expected.shape)
    np.testing.assert_array_equal(values(found).astype(expected.dtype), expected)


def test_a_zero_point_of_zero_wraps_in_the_first_version():
    golden = CASES["gptq-int4-g32-asym"]
    given = arrays(golden, "qzeros_v1")
    given["qzeros"] = np.full_like(given["qzeros"], -1)  # every field holds 15
    found = decoded(layout(golden, "gptq"), given, array(golden["expected_out_in"]).shape)
    assert (found.side["zero_points"] == 0).all()


def test_a_file_without_g_idx_has_groups_in_order():
    golden = CASES["gptq-int4-g32-asym"]
    given = arrays(golden, "qzeros_v1")
    del given["g_idx"]
    expected = array(golden["expected_out_in"])
    found = decoded(layout(golden, "gptq"), given, expected.shape)
    np.testing.assert_array_equal(values(found).astype(expected.dtype), expected)


def in_planes(codes, bits):
    """Pack (count, columns) codes as words of planes, 32 codes at a time."""
    words = []
    for start in range(0, len(codes), 32):
        low = 0
        for width in PLANES[bits]:
            digits = (codes[start : start + 32] >> low) & ((1 << width) - 1)
            numbers = [
                sum(int(d) << (width * i) for i, d in enumerate(column)) for column in digits.T
            ]
            words += [[(n >> (32 * w)) & 0xFFFFFFFF for n in numbers] for w in range(width)]
            low += width
    return np.array(words, np.uint32).view(np.int32)


@pytest.mark.parametrize("bits", PLANES)
def test_planes_hold_the_low_bits_first(bits):
    random = np.random.default_rng(bits)
    codes = random.integers(0, 1 << bits, (64, 32))
    zeros = random.integers(0, 1 << bits, (2, 32))
    scales = random.random((2, 32)).astype(np.float16)
    given = {
        "qweight": in_planes(codes, bits),
        "qzeros": np.ascontiguousarray(in_planes(zeros.T, bits).T),
        "scales": scales,
    }
    settings = {"bits": bits, "group_size": 32, "sym": False, "checkpoint_format": "gptq_p"}
    found = values(decoded(open_layout(settings, {}), given, (32, 64)))
    wide = (codes - np.repeat(zeros, 32, 0)) * np.repeat(scales, 32, 0).astype(np.float32)
    np.testing.assert_array_equal(found, wide.T.astype(np.float32))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"checkpoint_format": "marlin"}, "checkpoint_format marlin is permuted for a GPU"),
        ({"is_marlin_format": True}, "checkpoint_format marlin is permuted for a GPU"),
        ({"bits": 9}, "bits must be 2 to 8, not 9"),
        ({"bits": 5}, "codes of 5 bits must be in planes"),
        ({"bits": 8}, r"m.qweight is I32\[8, 32\], but .* needs I32\[16, 32\]"),
        ({"group_size": 64}, r"m.qzeros is I32\[2, 4\], but .* needs I32\[1, 4\]"),
        ({"group_size": 0.5}, "group_size must be an integer of at least -1, not 0.5"),
        ({"dynamic": {"-:m": {}}}, "m is quantized, but the settings exclude it"),
        ({"dynamic": {"+:(": {}}}, r"dynamic has the pattern '\+:\('"),
        ({"pack_dtype": "int16"}, "pack_dtype int16 is not supported"),
    ],
)
def test_settings_that_contradict_the_tensors_are_refused(settings, message):
    golden = CASES["gptq-int4-g32-asym"]
    with pytest.raises(ValueError, match=message):
        decoded(layout(golden, "gptq", **settings), arrays(golden, "qzeros_v1"), (32, 64))


def test_numbers_of_some_layers_are_others():
    golden = CASES["gptq-int8-g32-sym"]
    expected = array(golden["expected_out_in"])
    found = layout(golden, "gptq", bits=4, dynamic={"+:m": {"bits": 8}})
    ours = values(decoded(found, arrays(golden, "qzeros_v1"), expected.shape))
    np.testing.assert_array_equal(ours.astype(expected.dtype), expected)


def test_groups_outside_the_scales_are_refused():
    golden = CASES["gptq-int4-g32-asym-desc_act"]
    given = arrays(golden, "qzeros_v1")
    given["g_idx"] = given["g_idx"] + 1
    with pytest.raises(ValueError, match="g_idx has groups 1 to 2, not 0 to 1"):
        decoded(layout(golden, "gptq"), given, array(golden["expected_out_in"]).shape)
