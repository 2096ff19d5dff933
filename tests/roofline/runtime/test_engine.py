"""Engines: each is one record, which everything else asks."""

from dataclasses import replace
from itertools import pairwise

import pytest

from hw.machine import load_machine
from roofline.kernels.paths import weight_path
from roofline.model.model_shape import load_model
from roofline.runtime.engine import (
    ENGINES,
    LLAMA_CPP,
    LLAMA_CPP_VERSIONS,
    TENSOR_LIBRARY,
    Engine,
    engine_for,
)
from roofline.runtime.serving_format import parse_format
from roofline.time.predict import predict_step
from roofline.time.serving import prefill_s
from roofline.workload.setup import Setup
from roofline.workload.step import Sequences


def step_s(engine, *, fmt="gguf-q4_0", machine="rtx-4090", new=512):
    setup = Setup(
        shape=load_model("llama-3-8b"),
        format=parse_format(fmt),
        machine=load_machine(machine),
        engine=engine,
    )
    return float(predict_step(setup, [Sequences(batch=1, new=new)], "expected").time_s)


@pytest.mark.parametrize(
    "fmt,name",
    [
        ("fp16", "tensor library"),
        ("w4a16", "tensor library"),
        ("gguf-q4_k_m", "llama.cpp"),
        ("gguf-iq4_k", "ik_llama.cpp"),
        ("i2_s", "bitnet.cpp"),
        ("tl1", "table lookup"),
        ("tmac-2", "table lookup"),
    ],
)
def test_every_packing_has_an_engine(fmt, name):
    assert engine_for(parse_format(fmt)).name == name


def test_versions_of_llama_cpp_follow_one_another():
    first, *_, last = LLAMA_CPP_VERSIONS
    assert first.since == 0 and last.until is None
    for older, newer in pairwise(LLAMA_CPP_VERSIONS):
        assert older.until == newer.since


def test_an_engine_is_one_record():
    """A made-up engine changes times by what its record says, without another line of code."""
    assert LLAMA_CPP.gpu is not None
    fused = replace(LLAMA_CPP.gpu, activation_factor=1.0)
    engine = replace(LLAMA_CPP, name="llama.cpp with FP16 activations", gpu=fused)
    assert step_s(engine) < step_s(LLAMA_CPP)
    assert step_s(engine, machine="ryzen-7950x") == step_s(LLAMA_CPP, machine="ryzen-7950x")
    # GGUF packings in an engine with fused kernels, which expand weights on the chip.
    packings = LLAMA_CPP.packings | TENSOR_LIBRARY.packings
    library = replace(TENSOR_LIBRARY, name="a library that reads GGUF files", packings=packings)
    title = weight_path(load_machine("rtx-4090"), parse_format("gguf-q4_0"), library).title
    assert title == "dequantize to fp16"
    setup = Setup(
        shape=load_model("llama-3-8b"),
        format=parse_format("gguf-q4_0"),
        machine=load_machine("rtx-4090"),
        engine=library,
        machines=4,
        parallel="pipeline",
    )
    assert prefill_s(setup, 2048, 1.0, "expected") == 1.0


def test_an_engine_runs_its_own_packings_only():
    with pytest.raises(ValueError, match=r"^llama\.cpp does not run weights in w4a16$"):
        step_s(LLAMA_CPP, fmt="w4a16")
    with pytest.raises(ValueError, match=r"^tensor library does not split rows; use tensor or"):
        Setup(
            shape=load_model("llama-3-8b"),
            format=parse_format("w4a16"),
            machine=load_machine("l4"),
            machines=2,
            parallel="rows",
        )


def test_weights_are_expanded_in_memory_by_a_gpu_backend():
    with pytest.raises(ValueError, match="has no GPU backend"):
        Engine(name="x", packings=frozenset(["gguf"]), expands_in_memory=True)


def test_names_of_engines_are_their_keys():
    assert all(name == engine.name for name, engine in ENGINES.items())
