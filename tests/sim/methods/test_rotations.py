"""The step `rotate`: what it makes of a model, its texts, and a sweep with outliers."""

import dataclasses
import shutil

import numpy as np
import pytest
from _helpers.observers import Quiet
from safetensors.numpy import load_file, save_file

from sim.errors import UserError
from sim.methods.chain import chain_text, parse_chain
from sim.methods.rotations import Rotate
from sim.model.online import Online
from sim.model.tensors import tensor_shapes
from sim.sources.catalog import open_model
from sim.sources.rotated import RotatedSource
from sim.sources.text import read_text
from sim.sweep.engine import Sweep
from sim.sweep.recipe import plan
from sim.sweep.recipe_file import make_recipe
from sim.sweep.windows import take_windows

OUTLIER = 30
#: Matrices that read the normalised residual stream.
READERS = tuple(f"{x}_proj.weight" for x in ("q", "k", "v", "gate", "up"))


@pytest.fixture(scope="module")
def source(tiny_model):
    return open_model(str(tiny_model))


@pytest.fixture(scope="module")
def outliers(tiny_model, tmp_path_factory):
    """Return a model whose linear layers read two channels that are far larger than the others."""
    directory = tmp_path_factory.mktemp("outliers") / "model"
    shutil.copytree(tiny_model, directory)
    tensors = load_file(directory / "model.safetensors")
    for name, tensor in tensors.items():
        if name.endswith("layernorm.weight"):
            tensor[[5, 40]] *= OUTLIER
        elif name.endswith(READERS):
            tensor[:, [5, 40]] /= OUTLIER
    save_file(tensors, directory / "model.safetensors")
    return open_model(str(directory))


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("rotate", Rotate()),
        ("rotate(r2=false,seed=3)", Rotate(r2=False, seed=3)),
        (
            "rotate(r3=true,r4=true,heads=true,block=32)",
            Rotate(r3=True, r4=True, heads=True, block=32),
        ),
    ],
)
def test_texts_name_steps(text, step):
    chain = parse_chain(f"{text}+gptq")
    assert chain.model == (step,) and chain_text(chain) == f"{text}+gptq"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rotate(r1=false,r2=false)", "rotate has no rotation; set r1, r2, r3, r4 or heads"),
        ("rotate(block=-1)", "option block of rotate is -1; at least 0"),
        ("rotate(r1=false,block=8)", "option block of rotate is 8, but only r1 and r4 have blocks"),
        ("rotate(r1=false,r2=false,r4=true,seed=1)", "option seed of rotate is 1, but only r1 and"),
        (
            "rotate(r4=true)+spinquant(r3=true)",
            "rotate and spinquant both transform activations at run time; leave r3, r4 and heads",
        ),
        ("rotate(seed=-1)", "option seed of rotate is -1; at least 0"),
        ("gptq+rotate", "rotate is a transform of the model and comes before gptq"),
    ],
)
def test_options_that_make_no_sense_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_chain(text)


def sweep(source, text_file, directory, recipes):
    text = read_text(text_file)
    windows = take_windows(text, source.tokenizer(), tokens=256, context=32, spread=False)
    return Sweep(
        source=source, text=text, windows=windows, recipes=tuple(recipes), directory=directory
    ).run(Quiet())


def test_rotations_leave_the_float_model_and_spread_outliers(outliers, text_file, tmp_path):
    chains = ("rotate(r4=true,r3=true,heads=true)", "rotate")
    fine = make_recipe("int8:g16", method=chains[0])
    coarse = [
        make_recipe("int4:channel", activations="int4:channel", method=m)
        for m in ("rtn", chains[1])
    ]
    _, fine, plain, rotated = sweep(outliers, text_file, tmp_path, [fine, *coarse])
    # All are compared with the float model before rotation.
    assert fine.kl_mean < 1e-3 < plain.kl_mean
    assert rotated.kl_mean < 0.5 * plain.kl_mean
    assert rotated.bits_per_weight == plain.bits_per_weight
    assert rotated.recipe == "w=int4:channel,a=int4:channel rotate"


def test_the_configuration_is_that_of_the_rotated_source(source):
    step = Rotate(r3=True, r4=True, heads=True, block=32)
    config = plan(make_recipe("int4:channel", method="rotate(r4=true)"), source.config).config
    assert config.online == Online(down=96) and not config.tie_embeddings
    rotated = step.rotated(source)
    assert rotated.config == step.transformed(source.config)
    assert rotated.config.online == Online(down=32, o=4, qk=16)
    assert {n: rotated.read(n).shape for n in tensor_shapes(config)} == tensor_shapes(config)
    assert step.transformed(source.config).tie_embeddings is False
    assert Rotate(r1=False).transformed(source.config) == source.config


def test_heads_without_a_hadamard_matrix_are_mixed_value_by_value(source):
    config = dataclasses.replace(source.config, heads=6, kv_heads=2)
    assert Rotate(heads=True).transformed(config).online == Online(o_values=96)


def test_seeds_are_rotations_of_their_own(source):
    name = "layers.0.self_attn.v_proj.weight"
    one, same, other = (Rotate(seed=s).rotated(source).read(name) for s in (0, 0, 1))
    assert np.array_equal(one, same) and not np.allclose(one, other, atol=0.1)
    # Layers and R1 have signs of their own too.
    r2 = Rotate(r1=False).rotated(source)
    assert isinstance(r2, RotatedSource) and r2.residual is None
    first, second = r2.values
    assert not np.array_equal(first.signs, second.signs)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("rotate(block=24)", "64 values can't be rotated in blocks of 24"),
        ("rotate(block=64,r4=true)", "96 values can't be rotated in blocks of 64"),
    ],
)
def test_models_that_cannot_be_rotated_are_refused_in_the_plan(source, method, message):
    with pytest.raises(UserError, match=f"^{message}"):
        plan(make_recipe("int4:channel", method=method), source.config)
