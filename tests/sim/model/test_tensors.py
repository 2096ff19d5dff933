import math

from sim.model.families import linear_names, tensor_shapes
from sim.model.tensors import buffer_shapes, slots

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def test_linear_layers_come_in_layer_order(golden_model):
    config = golden_model("llama").config
    names = linear_names(config)
    assert [name.split(".")[-1] for name in names] == 2 * LINEAR
    assert names[0] == "layers.0.self_attn.q_proj"
    assert names[-1] == "layers.1.mlp.down_proj"


def test_an_mlp_without_gate_has_no_gate_proj(golden_model):
    names = linear_names(golden_model("opt").config)
    assert [name.split(".")[-1] for name in names] == 2 * [n for n in LINEAR if n != "gate_proj"]


def test_every_linear_layer_has_a_matrix(case, golden_model):
    config = golden_model(case).config
    shapes = tensor_shapes(config)
    assert all(len(shapes[f"{name}.weight"]) == 2 for name in linear_names(config))


def test_tied_embeddings_are_there_once(golden_model):
    assert "lm_head.weight" not in tensor_shapes(golden_model("gemma2").config)
    assert tensor_shapes(golden_model("llama").config)["lm_head.weight"] == (97, 48)


def test_canonical_tensors_hold_as_many_values_as_the_checkpoint(case, golden_model):
    golden = golden_model(case)
    ours = sum(map(math.prod, tensor_shapes(golden.config).values()))
    assert ours == sum(tensor.size for tensor in golden.raw.values())


def test_buffers_hold_every_value_once(case, golden_model):
    config = golden_model(case).config
    shapes, places = tensor_shapes(config), slots(config)
    assert places.keys() == shapes.keys()
    buffers = buffer_shapes(config)
    assert sum(map(math.prod, buffers.values())) == sum(map(math.prod, shapes.values()))


def test_shapes_of_a_layer(golden_model):
    shapes = tensor_shapes(golden_model("gemma2").config)
    layer = {n.removeprefix("layers.1."): s for n, s in shapes.items() if n.startswith("layers.1")}
    assert layer == {
        "attn_norm.weight": (48,),
        "self_attn.q_proj.weight": (72, 48),
        "self_attn.k_proj.weight": (24, 48),
        "self_attn.v_proj.weight": (24, 48),
        "self_attn.o_proj.weight": (48, 72),
        "mlp.gate_proj.weight": (80, 48),
        "mlp.up_proj.weight": (80, 48),
        "mlp.down_proj.weight": (48, 80),
        "mlp_norm.weight": (48,),
        "attn_post_norm.weight": (48,),
        "mlp_post_norm.weight": (48,),
    }
