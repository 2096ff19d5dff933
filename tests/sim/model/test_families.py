import json
import math
import re
from pathlib import Path

import pytest

from sim.model.config import ModelConfig
from sim.model.config_reader import ConfigReader
from sim.model.families import FAMILIES, config_from_hf, read_config
from sim.model.family_switches import USUAL, switches

FAMILIES_GOLDEN = Path(__file__).parents[2] / "golden" / "families"

#: Names in transformers 4 by names in transformers 5.
OLD_NAMES = {"dtype": "torch_dtype"}


def old_spelling(raw):
    """Return a configuration as transformers 4 wrote it."""
    old = {OLD_NAMES.get(name, name): value for name, value in raw.items()}
    rope = dict(old.pop("rope_parameters", {}))
    for name in ("rope_theta", "partial_rotary_factor"):
        if name in rope:
            old[name] = rope.pop(name)
    kind = rope.pop("rope_type", "default")
    rope.pop("original_max_position_embeddings", None) if kind == "longrope" else None
    old["rope_scaling"] = None if kind == "default" else {"type": kind, **rope}
    return old


def test_old_and_new_spelling_mean_the_same(case, golden_model):
    raw = golden_model(case).raw_config
    assert config_from_hf(old_spelling(raw)) == golden_model(case).config


# The defaults of transformers' configuration classes; sizes only where they are not obvious.
DEFAULTS = [
    ("llama", {"layers": 32, "kv_heads": 32, "head_dim": 128, "norm_eps": 1e-6}),
    ("llama", {"tie_embeddings": False, "max_positions": 2048, "sliding_window": None}),
    ("mistral", {"kv_heads": 8, "sliding_window": 4096, "max_positions": 131072}),
    ("qwen2", {"qkv_bias": True, "attention_output_bias": False, "sliding_window": None}),
    ("qwen3", {"head_dim": 128, "qk_norm": True, "qkv_bias": False, "tie_embeddings": False}),
    ("phi3", {"norm_eps": 1e-5, "sliding_window": None, "max_positions": 4096}),
    ("gemma2", {"head_dim": 256, "kv_heads": 4, "attention_scale": 0.0625}),
    ("gemma2", {"attention_softcap": 50.0, "final_softcap": 30.0, "tie_embeddings": True}),
    ("gemma2", {"embedding_scale": 48.0, "windowed_layers": (True, False) * 13}),
    ("opt", {"intermediate_size": 3072, "mlp_bias": True, "position_offset": 2}),
    ("gpt2", {"intermediate_size": 3072, "activation": "gelu_tanh", "tie_embeddings": True}),
    ("phi", {"head_bias": True, "norm_eps": 1e-5, "tie_embeddings": False}),
]


@pytest.mark.parametrize(("family", "expected"), DEFAULTS)
def test_absent_fields_have_the_defaults_of_transformers(family, expected):
    config = config_from_hf({"model_type": family})
    assert {name: getattr(config, name) for name in expected} == expected


def test_half_of_a_phi_head_rotates_unless_said_otherwise():
    assert config_from_hf({"model_type": "phi"}).rope.dim == 32
    phi_2 = {"model_type": "phi", "hidden_size": 2560, "partial_rotary_factor": 0.4}
    assert config_from_hf(phi_2).rope.dim == 32


def test_null_means_no_window_where_absence_means_the_default():
    absent = config_from_hf({"model_type": "mistral"})
    assert absent.sliding_window == 4096
    assert config_from_hf({"model_type": "mistral", "sliding_window": None}).sliding_window is None


def test_a_window_that_is_not_used_is_none():
    raw = {"model_type": "qwen2", "use_sliding_window": False, "sliding_window": 32768}
    assert config_from_hf(raw).windows == (None,) * 32


def test_the_window_of_qwen_begins_after_the_full_layers():
    raw = {"model_type": "qwen2", "use_sliding_window": True, "num_hidden_layers": 4}
    config = config_from_hf(raw | {"sliding_window": 64, "max_window_layers": 3})
    assert config.windows == (None, None, None, 64)


def test_llama_3_frequencies_by_hand():
    # The pairs of a head of 8 turn 8192 / (2 pi 500000^(i/4)) times in the original context,
    # 1303.8, 49.0, 1.844 and 0.069: two stay, one is blended, one is divided by the factor.
    scaling = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    raw = {"model_type": "llama", "head_dim": 8, "rope_theta": 500000.0, "rope_scaling": scaling}
    factors = config_from_hf(raw).rope.factors
    blend = (1.843848 - 1) / 3
    assert factors == pytest.approx((1.0, 1.0, 1 / ((1 - blend) / 8 + blend), 8.0), rel=1e-6)


def test_attention_factor_of_longrope():
    # Phi-3: sqrt(1 + ln(131072 / 4096) / ln 4096) = sqrt(1 + 5 / 12).
    scaling = {"type": "su", "short_factor": [1.0] * 48, "long_factor": [2.0] * 48}
    raw = {"model_type": "phi3", "max_position_embeddings": 131072, "rope_scaling": scaling}
    rope = config_from_hf(raw).rope
    assert rope.attention_factor == pytest.approx((1 + 5 / 12) ** 0.5)
    assert (rope.original_max_positions, rope.long_factors) == (4096, (2.0,) * 48)


HUB_FILES = {
    "SmolLM2": {
        "model_type": "llama",
        "is_llama_config": True,
        "rope_interleaved": False,
        "rope_scaling": None,
        "rope_theta": 100000,
        "transformers.js_config": {"kv_cache_dtype": {"q4f16": "float16"}},
        "pretraining_tp": 1,
    },
    "Qwen2.5": {"model_type": "qwen2", "use_mrope": False, "max_window_layers": 21},
    "Phi-3-mini-4k": {
        "model_type": "phi3",
        "attention_bias": False,
        "auto_map": {"AutoConfig": "configuration_phi3.Phi3Config"},
        "original_max_position_embeddings": 4096,
        "rope_scaling": None,
        "sliding_window": 2047,
    },
    "Phi-4-mini": {
        "model_type": "phi3",
        "full_attn_mod": 1,
        "interpolate_factor": 1,
        "lm_head_bias": False,
        "mlp_bias": False,
        "partial_rotary_factor": 0.75,
    },
    "Gemma 2": {
        "model_type": "gemma2",
        "cache_implementation": "hybrid",
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": "gelu_pytorch_tanh",
    },
    "OPT-125m": {
        "model_type": "opt",
        "_remove_final_layer_norm": False,
        "activation_dropout": 0.0,
        "prefix": "</s>",
        "word_embed_proj_dim": 768,
    },
    "GPT-2": {
        "model_type": "gpt2",
        "n_ctx": 1024,
        "summary_type": "cls_index",
        "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
    },
}


@pytest.mark.parametrize("name", HUB_FILES)
def test_fields_of_released_models_that_change_nothing_are_accepted(name):
    assert isinstance(config_from_hf(HUB_FILES[name]), ModelConfig)


FIELDS_OF_TRANSFORMERS = json.loads((FAMILIES_GOLDEN / "fields.json").read_text())


@pytest.mark.parametrize("family", FAMILIES)
def test_every_field_that_transformers_reads_is_read_refused_or_known_to_change_nothing(family):
    fields = FIELDS_OF_TRANSFORMERS[family]
    reader = ConfigReader({"model_type": family}, family)
    FAMILIES[family](reader)
    of_classifiers = {"summary_last_dropout"}
    known = reader.names_read | set(switches(family)) | USUAL | of_classifiers
    assert {*fields["own"], *fields["aliases"], *fields["read"]} <= known
    assert {"is_causal", "per_layer_config"} <= known & set(FIELDS_OF_TRANSFORMERS["shared"])


@pytest.mark.parametrize(
    ("family", "field"),
    [
        *(("llama", f) for f in ("use_alibi", "sliding_window", "layer_types", "per_layer")),
        *(("gpt2", f) for f in ("partial_rotary_factor", "rope_scaling", "qk_layernorm", "n_ctx")),
        ("opt", "intermediate_size"),
        ("llama", "pruned_heads"),
        ("qwen3", "is_encoder_decoder"),
        ("mistral", "compression_config"),
        ("mistral", "attention_bias"),
        ("qwen2", "qk_layernorm"),
        ("gemma2", "activation_function"),
        ("phi3", "mlp_bias"),
    ],
)
def test_a_field_that_the_family_does_not_read_is_ignored_with_a_note(family, field):
    config, notes = read_config({"model_type": family, field: 0.5})
    assert config == config_from_hf({"model_type": family})
    expected = f"Fields of config.json that a {family} model does not read are ignored: {field}."
    assert notes == (() if field in USUAL else (expected,))


def test_code_of_its_own_gets_a_note():
    raw = {"model_type": "phi3", "auto_map": {"AutoConfig": "configuration_phi3.Phi3Config"}}
    note = (
        "config.json names code of its own (auto_map), which is not run; the model is computed as "
        "transformers computes the family phi3."
    )
    assert read_config(raw)[1] == (note,)


def test_gpt2_takes_its_sizes_under_both_names():
    old = {"n_embd": 96, "n_head": 6, "n_layer": 3, "n_positions": 64}
    new = dict(zip(("hidden_size", "num_attention_heads"), (96, 6), strict=True))
    new |= {"num_hidden_layers": 3, "max_position_embeddings": 64}
    assert config_from_hf({"model_type": "gpt2"} | old) == config_from_hf(
        {"model_type": "gpt2"} | new
    )


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen3", "phi3"])
@pytest.mark.parametrize("place", ["top", "inside", "both"])
def test_the_context_before_extension_may_stand_beside_the_parameters(family, place):
    raw = {"model_type": family, "hidden_size": 32, "num_attention_heads": 4, "head_dim": 8}
    scaling = {"type": "longrope", "short_factor": [1.0] * 4, "long_factor": [2.0] * 4}
    context = {"original_max_position_embeddings": 64}
    if place in ("inside", "both"):
        scaling |= context
    if place in ("top", "both"):
        raw |= context
    if family == "phi3" and place == "inside":
        raw |= context  # absent, it is 4096 in this family
    raw |= {"num_key_value_heads": 2, "max_position_embeddings": 256, "rope_scaling": scaling}
    rope = config_from_hf(raw).rope
    assert rope.original_max_positions == 64
    assert rope.attention_factor == pytest.approx((1 + math.log(4) / math.log(64)) ** 0.5)


def test_numbers_that_a_type_of_scaling_does_not_read_are_ignored():
    raw = {"model_type": "llama", "rope_scaling": {"rope_type": "linear", "factor": 2.0}}
    more = {"finetuned": True, "beta_fast": 32, "attention_factor": 3.0, "mscale": 0.7}
    assert config_from_hf(raw) == config_from_hf(raw | {"rope_scaling": raw["rope_scaling"] | more})


REFUSED = [
    ({}, "model_type null is not supported; supported are {families}"),
    ({"model_type": "mamba"}, 'model_type "mamba" is not supported; supported are {families}'),
    ({"model_type": ["llama"]}, 'model_type ["llama"] is not supported; supported are {families}'),
    (
        {"model_type": "llama", "is_causal": False},
        "llama configuration: is_causal = false is not supported; {reason}",
    ),
    (
        {"model_type": "llama", "quantization_config": {"quant_method": "gptq", "bits": 4}},
        (
            'llama configuration: quantization_config = {{"quant_method": "gptq", "bits": 4}} '
            "is not supported; {reason}"
        ),
    ),
    (
        {"model_type": "gpt2", "hidden_size": 512, "n_embd": 768},
        "gpt2 configuration: hidden_size must equal n_embd 768 where both are given, not 512",
    ),
    (
        {"model_type": "llama", "per_layer_config": list(range(40))},
        (
            "llama configuration: per_layer_config = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, "
            "13, 14, 15, 16... is not supported; {reason}"
        ),
    ),
    (
        {"model_type": "phi", "qk_layernorm": True},
        "phi configuration: qk_layernorm = true is not supported; {reason}",
    ),
    (
        {"model_type": "gpt2", "scale_attn_by_inverse_layer_idx": True},
        "gpt2 configuration: scale_attn_by_inverse_layer_idx = true is not supported; {reason}",
    ),
    (
        {"model_type": "gemma2", "use_bidirectional_attention": True},
        "gemma2 configuration: use_bidirectional_attention = true is not supported; {reason}",
    ),
    (
        {"model_type": "llama", "hidden_act": "quick_gelu"},
        (
            "llama configuration: hidden_act must be one of silu, swish, gelu, gelu_new, "
            'gelu_pytorch_tanh, relu, not "quick_gelu"'
        ),
    ),
    (
        {"model_type": "gemma2", "hidden_act": "gelu"},
        (
            'gemma2 configuration: hidden_act only null or "gelu_pytorch_tanh" is supported, '
            'not "gelu"'
        ),
    ),
    (
        {"model_type": "opt", "word_embed_proj_dim": 512},
        "opt configuration: word_embed_proj_dim only null or 768 is supported, not 512",
    ),
    (
        {"model_type": "opt", "layer_norm_elementwise_affine": False},
        "opt configuration: layer_norm_elementwise_affine only true is supported, not false",
    ),
    (
        {"model_type": "llama", "tie_word_embeddings": "yes"},
        'llama configuration: tie_word_embeddings must be true or false, not "yes"',
    ),
    (
        {"model_type": "llama", "attention_bias": 1},
        "llama configuration: attention_bias must be true or false, not 1",
    ),
    (
        {"model_type": "llama", "num_hidden_layers": True},
        "llama configuration: num_hidden_layers must be an integer from 1 to 65536, not true",
    ),
    (
        {"model_type": "llama", "num_hidden_layers": 2**20 + 1},
        "llama configuration: num_hidden_layers must be an integer from 1 to 65536, not 1048577",
    ),
    *(
        (
            {"model_type": "llama", "hidden_size": value},
            f"llama configuration: hidden_size must be an integer from 1 to 16777216, not {shown}",
        )
        for value, shown in [
            (0, "0"),
            (-64, "-64"),
            (10**12, "1000000000000"),
            (64.0, "64.0"),
            ("64", '"64"'),
            ([64], "[64]"),
        ]
    ),
    *(
        (
            {"model_type": "llama", "rms_norm_eps": value},
            (
                "llama configuration: rms_norm_eps must be a finite number greater than 0, "
                f"not {shown}"
            ),
        )
        for value, shown in [
            (0, "0"),
            (-1e-5, "-1e-05"),
            (float("nan"), "NaN"),
            (float("inf"), "Infinity"),
            (True, "true"),
            ("1e-5", '"1e-5"'),
            (10**400, "1" + 56 * "0" + "..."),
        ]
    ),
    (
        {"model_type": "llama", "hidden_size": 100, "num_attention_heads": 8},
        "llama configuration: hidden size 100 can't be divided among 8 heads",
    ),
    (
        {"model_type": "llama", "num_attention_heads": 8, "num_key_value_heads": 3},
        "8 query heads can't share 3 key/value heads evenly",
    ),
    (
        {"model_type": "llama", "head_dim": 33},
        "rotary dimension must be even and at least 2, not 33",
    ),
    (
        {"model_type": "qwen2", "layer_types": ["full_attention"]},
        (
            "qwen2 configuration: layer_types must have 32 entries, one a layer, "
            'not ["full_attention"]'
        ),
    ),
    (
        {"model_type": "gemma2", "layer_types": ["chunked_attention"]},
        (
            "gemma2 configuration: layer_types must be a list of sliding_attention and "
            'full_attention, not ["chunked_attention"]'
        ),
    ),
    (
        {"model_type": "qwen2", "num_hidden_layers": 1, "layer_types": ["sliding_attention"]},
        (
            "qwen2 configuration: layer_types must be full_attention without a sliding window, "
            'not ["sliding_attention"]'
        ),
    ),
    (
        {"model_type": "mistral", "num_hidden_layers": 1, "layer_types": ["full_attention"]},
        (
            "mistral configuration: layer_types must be the same for all layers, as sliding_window "
            'says, not ["full_attention"]'
        ),
    ),
    (
        {"model_type": "gemma2", "sliding_window": None},
        (
            "gemma2 configuration: sliding_window must be an integer for layers of "
            "sliding_attention, not null"
        ),
    ),
]

KINDS = "default, linear, llama3, yarn, longrope, su"
REFUSED_ROPE = [
    ({"rope_type": "axial", "factor": 4.0}, f'rope_type must be one of {KINDS}, not "axial"'),
    (
        {"rope_type": "yarn", "factor": 4.0, "beta_fast": "32"},
        'beta_fast must be a finite number greater than 0, not "32"',
    ),
    ({"type": "dynamic", "factor": 2.0}, f'type must be one of {KINDS}, not "dynamic"'),
    (
        {"type": "linear", "rope_type": "llama3"},
        'type must equal rope_type "llama3" where both are given, not "linear"',
    ),
    ({"type": "linear"}, "factor is required for this type of scaling, not null"),
    (
        {"type": "linear", "factor": 0},
        "factor must be a finite number greater than 0, not 0",
    ),
    (
        {"rope_type": "default", "mrope_section": [16, 24, 24]},
        "mrope_section = [16, 24, 24] is not supported; {reason}",
    ),
    (
        {"full_attention": {"rope_type": "default"}},
        'full_attention = {{"rope_type": "default"}} is not supported; {reason}',
    ),
    (
        {"partial_rotary_factor": 0.5},
        "partial_rotary_factor only 1.0 is supported, not 0.5",
    ),
    (
        {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 1.0},
        "high_freq_factor must be greater than low_freq_factor 4.0, not 1.0",
    ),
    (
        {"rope_type": "longrope", "short_factor": [1.0], "long_factor": [0.0]},
        "long_factor must be a list of finite numbers greater than 0, not [0.0]",
    ),
]


def refusal(raw, message):
    families = "llama, mistral, qwen2, qwen3, phi3, gemma2, opt, gpt2, phi"
    reason = "the field may change what the model computes, so it can't be ignored"
    expected = message.format(families=families, reason=reason)
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        config_from_hf(raw)


@pytest.mark.parametrize(("raw", "message"), REFUSED)
def test_what_is_not_supported_is_refused(raw, message):
    refusal(raw, message)


@pytest.mark.parametrize("name", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize(("scaling", "message"), REFUSED_ROPE)
def test_rotary_scaling_that_is_not_supported_is_refused(name, scaling, message):
    raw = {"model_type": "llama", name: scaling}
    refusal(raw, f"llama configuration, {name}: {message}")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            {
                "model_type": "llama",
                "rope_scaling": {"type": "linear"},
                "rope_parameters": {"a": 1},
            },
            (
                "llama configuration: rope_scaling must equal rope_parameters where both are "
                'given, not {{"type": "linear"}}'
            ),
        ),
        (
            {"model_type": "llama", "rope_scaling": "linear"},
            'llama configuration: rope_scaling must be an object, not "linear"',
        ),
        (
            {"model_type": "llama", "partial_rotary_factor": 0.5},
            "llama configuration: partial_rotary_factor = 0.5 is not supported; {reason}",
        ),
        (
            {"model_type": "phi", "partial_rotary_factor": 1.5},
            "phi configuration: partial_rotary_factor must be at most 1, not 1.5",
        ),
        (
            {"model_type": "phi3", "rope_scaling": {"type": "linear", "factor": 2.0}},
            (
                "phi3 configuration, rope_scaling: type must be one of default, longrope, su, "
                'not "linear"'
            ),
        ),
        (
            {
                "model_type": "phi3",
                "original_max_position_embeddings": 2048,
                "rope_scaling": {"type": "su", "original_max_position_embeddings": 4096},
            },
            (
                "phi3 configuration, rope_scaling: original_max_position_embeddings must equal the "
                "configuration's 2048, not 4096"
            ),
        ),
        (
            {
                "model_type": "phi3",
                "rope_scaling": {"type": "su", "short_factor": [1.0] * 3, "long_factor": [1.0] * 3},
            },
            (
                "3 rotary frequency factors given, but 48 frequencies belong to 96 rotating values "
                "of a head"
            ),
        ),
    ],
)
def test_rotary_fields_that_contradict_are_refused(raw, message):
    refusal(raw, message)


FIELDS = [
    "vocab_size",
    "hidden_size",
    "n_embd",
    "num_hidden_layers",
    "n_layer",
    "num_attention_heads",
    "n_head",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "hidden_activation",
    "activation_function",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "sliding_window",
    "layer_types",
    "tie_word_embeddings",
    "n_inner",
    "ffn_dim",
    "do_layer_norm_before",
    "query_pre_attn_scalar",
    "partial_rotary_factor",
    "use_sliding_window",
    "original_max_position_embeddings",
    "max_position_embeddings",
    "attn_logit_softcapping",
]


@pytest.mark.parametrize("family", ["llama", "gemma2", "opt", "gpt2", "phi", "phi3", "qwen2"])
@pytest.mark.parametrize("value", [None, True, -1, 1e308, "", [], {}, [None], {"a": {}}])
def test_damaged_values_raise_nothing_but_one_line(family, value):
    for name in FIELDS:
        try:
            config_from_hf({"model_type": family, name: value})
        except ValueError as error:
            assert len(str(error).splitlines()) == 1, (name, error)
