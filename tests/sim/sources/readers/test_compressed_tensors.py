"""compressed-tensors layers: values of the package, refusals, activations."""

import numpy as np
import pytest
from _helpers.layouts import array, cases, decoded, values

from numerics import parse_scheme
from sim.sources.readers.compressed_tensors import FORMATS, open_layout

CASES = cases("compressed_tensors")
#: Settings of the cases whose file has none.
OTHERS = {
    "int-quantized": {"num_bits": 8, "type": "int", "strategy": "channel"},
    "float-quantized-tensor": {"num_bits": 8, "type": "float", "strategy": "tensor"},
    "float-quantized-channel": {"num_bits": 8, "type": "float", "strategy": "channel"},
    "nvfp4-pack-quantized": {"num_bits": 4, "type": "float", "strategy": "tensor_group"},
}
MX = {"num_bits": 4, "type": "float", "strategy": "group", "group_size": 32}


def layout(kind, weights, **more):
    group = {"targets": ["Linear"], "weights": weights, **more.pop("group", {})}
    return open_layout({"format": kind, "config_groups": {"group_0": group}, **more}, {})


def case(name):
    golden = CASES[name]
    weights = golden.get("config") or OTHERS.get(name, MX)
    kind = next(kind for kind in FORMATS if name.startswith(kind))
    arrays = {n: array(a) for n, a in golden["tensors"].items()}
    return (
        layout(kind, weights),
        arrays,
        array(golden.get("expected_float32", golden.get("expected"))),
    )


@pytest.mark.parametrize("name", CASES)
def test_values_are_those_of_the_package(name):
    found, arrays, expected = case(name)
    ours = values(decoded(found, arrays, expected.shape))
    np.testing.assert_array_equal(ours.astype(expected.dtype), expected)


@pytest.mark.parametrize("name", ["pack-quantized-int3-g32", "pack-quantized-int5-g64"])
def test_words_of_whole_codes_of_older_releases_are_read(name):
    found, arrays, expected = case(name)
    arrays["weight_packed"] = array(CASES[name]["weight_packed_before_0.18"])
    ours = values(decoded(found, arrays, expected.shape))
    np.testing.assert_array_equal(ours.astype(expected.dtype), expected)


def test_blocks_of_fp8_multiply_by_the_scale_of_their_block():
    random = np.random.default_rng(0)
    kind = np.dtype(array(CASES["float-quantized-tensor"]["tensors"]["weight"]).dtype)
    weight = random.standard_normal((5, 7)).astype(np.float32).astype(kind)
    scale = random.random((3, 2), np.float32)
    blocks = {"num_bits": 8, "type": "float", "strategy": "block", "block_structure": "2x4"}
    found = decoded(
        layout("float-quantized", blocks), {"weight": weight, "weight_scale": scale}, (5, 7)
    )
    for (row, column), value in np.ndenumerate(values(found)):
        assert value == np.float32(weight[row, column]) * scale[row // 2, column // 4]


INT4 = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight_scale": None}, "no tensor m.weight_scale, which int4_full:g32:fp16 needs"),
        ({"weight_scale": (8, 3)}, r"m.weight_scale is BF16\[8, 3\], but .* needs .*\[8, 2\]"),
        ({"weight_packed": (8, 9)}, r"m.weight_packed is I32\[8, 9\], but .* I32\[8, 8\]"),
        ({"weight_shape": None}, "no tensor m.weight_shape"),
        ({"weight_zero_point": (1, 2)}, "symmetric layers have no weight_zero_point"),
    ],
)
def test_missing_and_misshapen_tensors_are_refused(change, message):
    found, arrays, expected = case("pack-quantized-int4-g32")
    for name, shape in change.items():
        if shape is None:
            del arrays[name]
        else:
            arrays[name] = np.zeros(shape, arrays.get(name, np.zeros(1, np.int32)).dtype)
    with pytest.raises(ValueError, match=message):
        decoded(found, arrays, expected.shape)


def test_a_shape_in_the_file_that_is_not_the_models_is_refused():
    found, arrays, expected = case("pack-quantized-int4-g32")
    arrays["weight_shape"] = np.array([8, 60])
    with pytest.raises(ValueError, match=r"weight_shape is \[8, 60\], not \[8, 64\]"):
        decoded(found, arrays, expected.shape)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"format": "marlin-24"}, "format marlin-24 of m is not supported; supported are pack-"),
        ({"ignore": ["re:m$"]}, "m is quantized, but the settings ignore it"),
        ({"sparsity_config": {"format": "sparse-24"}}, "format sparse-24 is not supported"),
        ({"config_groups": {}}, "config_groups is empty or missing"),
        ({"config_groups": {"W4A16": ["re:other"]}}, "no config_group of the settings names it"),
        ({"config_groups": {"W9X": ["Linear"]}}, "the preset W9X is not supported"),
        ({"ignore": ["re:("]}, "pattern 're:\\(' of the settings"),
        (
            {"config_groups": {"g": {"targets": ["Linear"], "weights": {**INT4, "num_bits": "4"}}}},
            'g, weights: num_bits must be an integer of at least 1, not "4"',
        ),
        (
            {"transform_config": {"config_groups": {"R3": {"apply": [{"location": "q_attn"}]}}}},
            "R3 is applied at run time",
        ),
    ],
)
def test_settings_that_are_not_known_or_contradict_the_tensors_are_refused(settings, message):
    _, arrays, expected = case("pack-quantized-int4-g32")
    base = {
        "format": "pack-quantized",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": INT4}},
    }
    with pytest.raises(ValueError, match=message):
        decoded(open_layout(base | settings, {}), arrays, expected.shape)


def test_a_preset_names_the_numbers():
    _, arrays, expected = case("pack-quantized-int4-g32-asym")
    found = open_layout(
        {"format": "pack-quantized", "config_groups": {"W4A16_ASYM": ["Linear"]}}, {}
    )
    arrays["weight_scale"] = arrays["weight_scale"][:, :1]
    arrays["weight_zero_point"] = arrays["weight_zero_point"][:, :1]
    layer = found.layer("m", expected.shape, {})
    assert layer is None  # no tensor is quantized
    assert decoded(found, arrays, expected.shape).scheme.group_size == 128


@pytest.mark.parametrize(
    ("inputs", "tensors", "scheme"),
    [
        ({"num_bits": 8, "strategy": "token", "dynamic": True}, {}, "int8_full:token:fp32"),
        (
            {"num_bits": 8, "type": "float", "strategy": "token", "dynamic": True},
            {},
            "fp8_e4m3:token:fp32",
        ),
        (
            {"num_bits": 8, "type": "float", "strategy": "tensor"},
            {"input_scale": np.float32([0.5])},
            "fp8_e4m3:tensor:fp32:scale=0.5",
        ),
        (
            {"num_bits": 4, "type": "float", "strategy": "tensor_group", "dynamic": "local"},
            {"input_global_scale": np.float32([4])},
            "nvfp4:scale=0.25",
        ),
    ],
)
def test_activations_of_the_settings_become_schemes(inputs, tensors, scheme):
    from _helpers.layouts import stored

    _, arrays, expected = case("int-quantized")
    found = layout("int-quantized", OTHERS["int-quantized"], group={"input_activations": inputs})
    layer = found.layer("m", expected.shape, stored(arrays | tensors))
    assert layer.activations(tensors) == parse_scheme(scheme)
    assert set(tensors) <= set(layer.others)
