"""Requests on accelerators: bounds, chunks and caches."""

import pytest

from hw.accelerator import list_accelerators, load_accelerator
from roofline.accelerator.serving import accelerator_prefill, accelerator_step
from roofline.model_shape import load_model
from roofline.recipe import parse_recipe
from roofline.serving import Request

SHAPE = load_model("llama-3-8b")


def step(machine="bitmod", recipe="bitmod-fp4", phase="decode", kv=None, **more):
    return accelerator_step(
        SHAPE, parse_recipe(recipe, kv=kv), load_accelerator(machine), phase, batch=1, **more
    )


@pytest.mark.parametrize("machine", list_accelerators())
@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_no_run_is_faster_than_its_bound(machine, phase):
    for recipe in ("w4a16", "w8a8", "fp16"):
        found = step(machine, recipe, phase, context=300)
        assert 0 < found.bound_s <= found.time_s
        for gemm, cost in found.products:
            assert cost.bound_cycles <= cost.cycles, gemm


def test_the_bound_of_a_token_is_its_weights_at_the_memorys_speed():
    machine = load_accelerator("bitmod")
    found = step(context=1)
    weights = SHAPE.linear_params + SHAPE.head_params
    bits = sum(g.weight_bits + g.side_bits for g, _ in found.products[:1])
    seconds = weights * bits / machine.dram_bits_per_cycle / (machine.clock_mhz * 1e6)
    # Keys and values of one token are little beside them.
    assert found.bound_s == pytest.approx(seconds, rel=1e-3)


def test_a_cache_of_fewer_bits_is_read_faster():
    own, narrow = (step(context=8000, kv=kv) for kv in (None, "int4"))
    bits = {g.name: g.weight_bits + g.side_bits for g, _ in narrow.products}
    assert bits["scores"] == bits["values"] == pytest.approx(4.25)
    assert {g.weight_bits for g, _ in own.products if g.name == "scores"} == {8}
    assert narrow.time_s < own.time_s


def test_chunks_compute_the_tokens_of_the_prompt_once():
    def run(chunk):
        request = Request(prompt=1000, output=1, chunk=chunk)
        recipe = parse_recipe("bitmod-fp4")
        return accelerator_prefill(SHAPE, recipe, load_accelerator("bitmod"), request)

    (whole,), parts = run(None), run(300)
    assert len(parts) == 4
    tokens = [part.products[0][0].tokens for part in parts]
    assert tokens == [300, 300, 300, 100] and whole.products[0][0].tokens == 1000
    contexts = [g.outputs for part in parts for g, _ in part.products if g.name == "scores"]
    assert contexts == [300, 600, 900, 1000]
    # Each chunk reads all weights again.
    assert sum(part.time_s for part in parts) > whole.time_s * 0.9
    assert sum(part.dram_energy_j for part in parts) > whole.dram_energy_j
