import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import parse_scheme, quantize
from sim.model import forward
from sim.model.families import linear_names
from sim.model.forward import LayerNumerics, hidden_states
from sim.model.layer_numerics import segments
from sim.model.params import with_quantized

INT4 = parse_scheme("int4:g32:fp32")
INT8 = parse_scheme("int8:token:fp32")
ROUGH = parse_scheme("int3:g32:fp32")
FLOAT = LayerNumerics()
FIELDS = ("qkv", "o", "gate_up", "down", "kv")

run = jax.jit(hidden_states, static_argnums=(2, 3))


def states(golden, numerics=None, params=None):
    params = golden.params() if params is None else params
    return np.asarray(run(params, jnp.asarray(golden.tokens), golden.config, numerics))


def test_runs_of_equal_layers_become_segments():
    a, b = LayerNumerics(o=INT4), LayerNumerics(o=INT8)
    assert list(segments((a, a, b, LayerNumerics(o=INT4)))) == [
        (range(0, 2), a),
        (range(2, 3), b),
        (range(3, 4), a),
    ]


def test_layers_without_schemes_change_nothing(golden_model):
    golden = golden_model("gemma2")
    np.testing.assert_array_equal(states(golden, (FLOAT,) * 3), states(golden))


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_acts(field, golden_model):
    golden = golden_model("llama")
    rounded = states(golden, (LayerNumerics(**{field: ROUGH}), FLOAT))
    change = np.abs(rounded - states(golden))
    assert 1e-2 < change.max() < 10


def test_segments_agree_with_layers_on_their_own(golden_model):
    # The last of three layers in a segment of its own, windows alternating: as if in one scan.
    golden = golden_model("gemma2")
    same = LayerNumerics(qkv=INT8, down=INT8)
    one_scan = states(golden, (same,) * 3)
    nearly = LayerNumerics(qkv=INT8, down=parse_scheme("int8:channel:fp32"))
    np.testing.assert_array_equal(states(golden, (same, same, nearly)), one_scan)


def trace(golden, numerics):
    """Run the Python of the forward pass without computing anything."""
    tokens = jnp.asarray(golden.tokens)
    jax.eval_shape(lambda p: hidden_states(p, tokens, golden.config, numerics), golden.params())


def test_each_segment_gets_its_own_entry(golden_model, monkeypatch):
    seen = []
    original = forward._attend

    def spy(x, layer, config, numerics, rope, window):
        seen.append(numerics)
        return original(x, layer, config, numerics, rope, window)

    monkeypatch.setattr(forward, "_attend", spy)
    entries = (FLOAT, LayerNumerics(qkv=INT8), LayerNumerics(o=INT4))
    trace(golden_model("qwen2-window"), entries)
    assert tuple(dict.fromkeys(seen)) == entries


def test_cached_rows_are_rounded_head_by_head(golden_model, monkeypatch):
    shapes = []
    original = forward.fake_quantize

    def spy(x, scheme):
        shapes.append((x.shape, scheme))
        return original(x, scheme)

    monkeypatch.setattr(forward, "fake_quantize", spy)
    trace(golden_model("llama"), (LayerNumerics(kv=INT8), FLOAT))
    # Keys and values: kv heads, tokens, head size.
    assert shapes[:2] == [((2, 24, 8), INT8), ((2, 24, 8), INT8)]
    assert len(set(shapes)) == 1


def test_compilation_depends_on_segments_not_layers(golden_model):
    golden = golden_model("qwen2-window")
    tokens = jnp.asarray(golden.tokens)

    def loops(numerics):
        text = run.lower(golden.params(), tokens, golden.config, numerics).as_text()
        return text.count("stablehlo.while")

    other = LayerNumerics(down=INT8)
    assert loops((FLOAT,) * 3) == 1
    assert loops((FLOAT, other, other)) == 2


def quantized(golden, *, scheme=INT4, only=""):
    buffers = {}
    for name in linear_names(golden.config):
        if only in name:
            matrix = golden.raw[f"model.{name}.weight"]
            buffers[name] = quantize(jnp.asarray(matrix), scheme)
    return buffers


def test_bit_true_layers_equal_simulated_ones_but_for_rounding(golden_model):
    golden = golden_model("llama")
    matrices = quantized(golden)
    exact = with_quantized(golden.params(), golden.config, matrices)
    simulated = golden.params()
    for key, members in exact["layers"].items():
        if isinstance(members, tuple):
            rows = [jax.vmap(lambda q: q.dequantize())(member) for member in members]
            simulated["layers"][key] = jnp.concatenate(rows, axis=1)
    numerics = (LayerNumerics(qkv=INT8, o=INT8, gate_up=INT8, down=INT8), FLOAT)
    difference = np.abs(states(golden, numerics, exact) - states(golden, numerics, simulated))
    # Rarely a different last bit makes an activation round to the next code.
    assert np.median(difference) < 1e-5
    assert difference.max() < 0.1


def test_matrices_that_share_an_input_are_quantized_together(golden_model):
    golden = golden_model("llama")
    message = (
        "bit-true products need every layer's self_attn.q_proj and self_attn.k_proj and "
        "self_attn.v_proj quantized, but layers.0.self_attn.q_proj is not"
    )
    with pytest.raises(ValueError, match=f"^{message}$"):
        with_quantized(golden.params(), golden.config, quantized(golden, only="k_proj"))


def test_layers_of_one_name_share_a_scheme(golden_model):
    golden = golden_model("llama")
    matrices = quantized(golden, only="down_proj")
    matrices |= {
        name: q
        for name, q in quantized(golden, scheme=ROUGH, only="down_proj").items()
        if name.startswith("layers.1")
    }
    message = "bit-true products need one weight scheme for the same matrix of all layers"
    with pytest.raises(ValueError, match=f"^{message}$"):
        with_quantized(golden.params(), golden.config, matrices)
