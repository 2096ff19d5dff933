"""Layers of the other tools: values of their own code."""

import json

import numpy as np
import pytest
from _helpers.layouts import array, cases, decoded, stored, values

from numerics import parse_scheme
from sim.sources.readers import aqlm, bitnet, bitsandbytes, fp8, gemma, hqq, mlx, modelopt, torchao
from sim.sources.readers.layer import check_parts


def equal(layout, arrays, golden):
    """Compare values with golden ones, rounded to their type."""
    expected = array(golden)
    ours = values(decoded(layout, arrays, expected.shape))
    np.testing.assert_array_equal(ours.astype(expected.dtype), expected)


NATIVE, MODELOPT = cases("transformers_native"), cases("modelopt")


def arrays_of(golden, *names):
    return {name: array(golden[name]) for name in names}


def test_blocks_of_deepseek_fp8():
    golden = NATIVE["fp8-block16"]
    given = arrays_of(golden, "weight", "weight_scale_inv")
    layout = fp8.open_layout({"quant_method": "fp8", "weight_block_size": [16, 16]}, {})
    equal(layout, given, golden["expected_float32"])
    equal(layout, given, golden["expected_bf16"])
    layer = layout.layer("m", (32, 48), stored(given))
    assert layer.activations({}) == parse_scheme("fp8_e4m3:g16:fp32")


def test_rows_of_fbgemm_fp8():
    golden = NATIVE["fbgemm_fp8"]
    settings = {"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0}
    layout = fp8.open_layout(settings, {})
    equal(layout, arrays_of(golden, "weight", "weight_scale"), golden["expected_float32"])
    assert layout.notes == ("The upper bound 1200.0 of token scales is not applied.",)


def test_a_scale_without_a_weight_in_fp8_is_refused():
    golden = NATIVE["fp8-block16"]
    layout = fp8.open_layout({"weight_block_size": [16, 16]}, {})
    for name in ("weight", "weight_scale_inv"):
        with pytest.raises(ValueError, match="m has a weight in FP8 or a scale of it, but not"):
            layout.layer("m", (32, 48), stored(arrays_of(golden, name)))


def test_scales_of_blocks_that_do_not_fit_are_refused():
    golden = NATIVE["fp8-block16"]
    given = arrays_of(golden, "weight", "weight_scale_inv")
    layout = fp8.open_layout({"weight_block_size": [32, 16]}, {})
    with pytest.raises(ValueError, match=r"weight_scale_inv is F32\[2, 3\], but .*\[1, 3\]"):
        decoded(layout, given, (32, 48))


@pytest.mark.parametrize("kind", ["int4", "int8"])
def test_gemma_integers(kind):
    golden = NATIVE[f"gemma-{kind}"]
    layout = gemma.open_layout({}, {})
    equal(layout, arrays_of(golden, "weight", "weight_scale"), golden["expected_float32"])


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("bitlinear", "expected_float32 (BitLinear divides: t / weight_scale)"),
        ("autobitlinear", "expected_float32 (AutoBitLinear offline multiplies: t * weight_scale)"),
    ],
)
def test_bitnet_divides_or_multiplies_by_its_scale(kind, key):
    golden = NATIVE["bitnet-bitlinear"]
    layout = bitnet.open_layout({"linear_class": kind}, {})
    given = arrays_of(golden, "weight", "weight_scale")
    equal(layout, given, golden[key])
    assert layout.layer("m", (16, 8), stored(given)).activations({}).name == "int8:token:fp32"


def test_a_fourth_ternary_code_is_refused():
    golden = NATIVE["bitnet-bitlinear"]
    given = arrays_of(golden, "weight", "weight_scale")
    given["weight"] = np.full_like(given["weight"], 0b11)
    with pytest.raises(ValueError, match="a code is 3; ternary codes are 0, 1 and 2"):
        decoded(bitnet.open_layout({}, {}), given, (16, 8))


@pytest.mark.parametrize("kind", ["nf4", "nf4-nested", "fp4"])
def test_blocks_of_bitsandbytes(kind):
    golden = cases("bitsandbytes")[kind]
    given = {f"weight.{name}": array(a) for name, a in golden["weight.*"].items()}
    layout = bitsandbytes.open_layout({"load_in_4bit": True}, {})
    equal(layout, {"weight": array(golden["weight"]), **given}, golden["expected"])


def test_blocks_over_the_ends_of_rows_are_values_only():
    golden = cases("bitsandbytes")["nf4"]
    given = {f"weight.{name}": array(a) for name, a in golden["weight.*"].items()}
    given["weight"] = array(golden["weight"])
    state = {"quant_type": "nf4", "blocksize": 64, "dtype": "float16", "shape": [64, 32]}
    name = "weight.quant_state.bitsandbytes__nf4"
    given[name] = np.frombuffer(json.dumps(state).encode(), np.uint8)
    found = decoded(bitsandbytes.open_layout({}, {}), given, (64, 32))
    expected = array(golden["expected"])
    np.testing.assert_array_equal(found.astype(np.float16).reshape(-1), expected.reshape(-1))


def test_a_state_that_contradicts_the_tensors_is_refused():
    golden = cases("bitsandbytes")["nf4"]
    given = {f"weight.{name}": array(a) for name, a in golden["weight.*"].items()}
    given["weight"] = array(golden["weight"])
    with pytest.raises(ValueError, match=r"the quantization state says \(64, 'nf4', \[16, 128"):
        decoded(bitsandbytes.open_layout({}, {}), given, (128, 16))


def test_rows_of_llm_int8():
    golden = cases("bitsandbytes")["int8"]
    given = arrays_of(golden, "weight", "SCB")
    equal(bitsandbytes.open_layout({}, {}), given, golden["expected_float32"])


def test_nvfp4_of_modelopt_multiplies_by_its_second_scale():
    golden = MODELOPT["nvfp4"]
    settings = {"producer": {"version": "0.47.0"}, "quantization": {"quant_algo": "NVFP4"}}
    layout = modelopt.open_layout(settings, {})
    given = arrays_of(golden, "weight", "weight_scale", "weight_scale_2")
    equal(layout, given, golden["expected_float32"])
    layer = layout.layer("m", (8, 64), stored(given))
    inputs = {"input_scale": np.float32(0.25)}
    assert layer.activations(inputs) == parse_scheme("nvfp4:scale=0.25")


def test_fp8_of_modelopt_with_its_cache():
    golden = MODELOPT["fp8"]
    settings = {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}
    layout = modelopt.open_layout(settings, {})
    equal(layout, arrays_of(golden, "weight", "weight_scale"), golden["expected_float32"])
    assert layout.is_cache_tensor("model.layers.0.self_attn.k_proj.k_scale")
    scales = {"k": np.float32([0.5]), "v": np.float32([0.25])}
    assert layout.cache_scheme(scales) == parse_scheme("fp8_e4m3:tensor:fp32:scale=0.5")


def test_input_factors_of_modelopt_are_folded_into_the_columns():
    golden = MODELOPT["nvfp4"]
    given = arrays_of(golden, "weight", "weight_scale", "weight_scale_2")
    layout = modelopt.open_layout({"quant_algo": "NVFP4_AWQ"}, {})
    plain = values(decoded(layout, given, (8, 64)))
    factors = np.linspace(0.5, 2, 64).astype(np.float16)
    found = decoded(layout, given | {"pre_quant_scale": factors}, (8, 64))
    np.testing.assert_array_equal(found, plain * factors.astype(np.float32))


@pytest.mark.parametrize("name", cases("mlx"))
def test_groups_of_mlx(name):
    golden = cases("mlx")[name]
    names = [n for n in ("weight", "scales", "biases") if n in golden]
    settings = {"mode": name, "group_size": 32, "bits": 4}
    if name.startswith("affine"):
        settings = {"group_size": 32, "bits": int(name.split("-")[1][0])}
    equal(mlx.open_layout(settings, {}), arrays_of(golden, *names), golden["expected"])


def test_numbers_of_one_module_of_mlx_are_others():
    golden = cases("mlx")["affine-8bit-g32"]
    settings = {"group_size": 64, "bits": 4, "m": {"group_size": 32, "bits": 8}, "lm_head": False}
    given = arrays_of(golden, "weight", "scales", "biases")
    equal(mlx.open_layout(settings, {}), given, golden["expected"])


@pytest.mark.parametrize("name", cases("torchao"))
def test_tensors_of_torchao(name):
    golden = cases("torchao")[name]
    given = {n.split(".", 1)[1]: array(a) for n, a in golden["tensors"].items()}
    metadata = {k.replace("0.weight", "m.weight"): v for k, v in golden["metadata"].items()}
    metadata["tensor_names"] = '["m.weight"]'
    layout = torchao.open_layout({}, metadata)
    equal(layout, given, golden["expected"])
    layer = layout.layer("m", tuple(golden["expected"]["shape"]), stored(given))
    assert (layer.activations is not None) == (name == "int8-dyn")


def test_torchao_without_a_description_is_refused():
    with pytest.raises(ValueError, match="no torchao description of tensors"):
        torchao.open_layout({}, {"format": "pt"})


HQQ = {name: golden for name, golden in cases("hqq").items() if name.startswith("hqq-")}


@pytest.mark.parametrize("name", HQQ)
def test_slabs_of_hqq(name):
    golden = HQQ[name]
    settings = {"nbits": int(name[4]), "group_size": 32, "axis": golden["axis"]}
    layout = hqq.open_layout({"quant_config": {"weight_quant_params": settings}}, {})
    equal(layout, arrays_of(golden, "W_q", "scale", "zero"), golden["expected"])


def test_the_whole_state_of_hqq_is_used():
    golden = cases("hqq")["encoded_state_dict_4bit"]
    given = {name: array(a) for name, a in golden["tensors"].items()}
    layout = hqq.open_layout({"nbits": 4, "group_size": 32}, {})
    equal(layout, given, golden["expected"])
    layer = layout.layer("m", (16, 64), stored(given))
    check_parts(layer, stored(given), "m")
    assert set(given) == set(layer.parts) | set(layer.others)


@pytest.mark.parametrize(("books", "bits"), [(1, 16), (2, 8), (1, 12)])
def test_codebooks_of_aqlm(books, bits):
    golden = cases("vector_quantized")[f"aqlm-{books}x{bits}"]
    given = arrays_of(golden, "codes", "codebooks", "scales")
    shown = given["codebooks"]
    whole = np.zeros((books, 1 << bits, *shown.shape[2:]), shown.dtype)
    whole[:, : shown.shape[1]] = shown
    settings = {"num_codebooks": books, "nbits_per_codebook": bits}
    equal(aqlm.open_layout(settings, {}), given | {"codebooks": whole}, golden["expected_float32"])
