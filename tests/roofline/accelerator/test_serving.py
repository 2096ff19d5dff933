"""Requests on accelerators: bounds, chunks and caches."""

from functools import partial

import pytest

from hw.accelerator import list_accelerators, load_accelerator
from hw.pe_record import load_record
from roofline.accelerator.serving import accelerator_prefill, accelerator_step
from roofline.model.model_shape import load_model
from roofline.runtime.serving_format import parse_format
from roofline.time.serving import Request

SHAPE = load_model("llama-3-8b")


def step(machine="bitmod", fmt="bitmod-fp4", phase="decode", kv=None, **more):
    return accelerator_step(
        SHAPE, parse_format(fmt, kv=kv), load_accelerator(machine), phase, batch=1, **more
    )


def formats_of(name):
    """Return formats that the PEs of an accelerator read."""
    machine = load_accelerator(name)
    if machine.element:
        return ("w4a8",)
    return ("w4a16", "w8a8", "fp16") if machine.activation_bits == 16 else ("w4a8", "w8a8")


@pytest.mark.parametrize("machine", list_accelerators())
@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_no_run_is_faster_than_its_bound(machine, phase):
    for fmt in formats_of(machine):
        found = step(machine, fmt, phase, context=300)
        assert 0 < found.bound_s <= found.time_s
        for gemm, cost in found.products:
            assert cost.bound_cycles <= cost.cycles, gemm


def test_the_bound_of_a_token_is_its_weights_at_the_memorys_speed():
    machine = load_accelerator("bitmod")
    found = step(context=1)
    stored = sum(g.weight_bits + g.side_bits for g, _ in found.products[:1])
    # The head has 16 bits unless a format says otherwise.
    bits = SHAPE.linear_params * stored + SHAPE.head_params * 16
    seconds = bits / machine.dram_bits_per_cycle / (machine.clock_mhz * 1e6)
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
        fmt = parse_format("bitmod-fp4")
        return accelerator_prefill(SHAPE, fmt, load_accelerator("bitmod"), request)

    (whole,), parts = run(None), run(300)
    assert len(parts) == 4
    tokens = [part.products[0][0].tokens for part in parts]
    assert tokens == [300, 300, 300, 100] and whole.products[0][0].tokens == 1000
    contexts = [g.outputs for part in parts for g, _ in part.products if g.name == "scores"]
    assert contexts == [300, 600, 900, 1000]
    # Each chunk reads all weights again.
    assert sum(part.time_s for part in parts) > whole.time_s * 0.9
    assert sum(part.dram_energy_j for part in parts) > whole.dram_energy_j


def test_a_recipes_activations_take_their_own_bits_where_the_array_has_room_for_more():
    run = partial(accelerator_step, SHAPE, machine=load_accelerator("bitmod"), phase="prefill")
    wide, narrow = (run(fmt=parse_format(name), batch=1, context=512) for name in ("w4a16", "w4a8"))
    assert narrow.dram_energy_j < wide.dram_energy_j and narrow.time_s <= wide.time_s


@pytest.mark.parametrize(
    "machine,fmt,activations,why",
    [
        ("edge-8x8", "w4a16", None, "mixpe-w4a8 reads activations in int8, not fp16; give"),
        ("edge-8x8", "fp4", "int8", "reads codes of int4, not those of fp4"),
        ("edge-8x8", "mxfp4", "int8", "reads codes of int4, not those of mxfp4"),
        ("edge-8x8", "nvfp4", "int8", "reads codes of int4, not those of nvfp4"),
        ("edge-8x8", "nf4", "int8", "reads codes of int4, not those of nf4"),
        ("edge-8x8", "w8a8", None, "reads codes of int4, not those of int8"),
        ("edge-8x8", "q4_k_m", "int8", "reads codes of int4, not those of q4_k_m"),
        ("edge-8x8", "fp16", "int8", "reads codes of int4, not FP16"),
        ("tpu-v1", "w8a16", None, "takes activations of 8 bits, and w8a16 has fp16; give"),
    ],
)
def test_codes_that_the_pes_cannot_read_are_refused(machine, fmt, activations, why):
    parsed = parse_format(fmt, activations=activations)
    with pytest.raises(ValueError, match=why):
        accelerator_step(SHAPE, parsed, load_accelerator(machine), "decode", batch=1, context=64)


def test_a_head_has_its_own_bits_and_one_row_of_each_sequence():
    found = accelerator_step(
        SHAPE, parse_format("w4a16"), load_accelerator("bitmod"), "prefill", batch=2, context=64
    )
    head = next(gemm for gemm, _ in found.products if gemm.name == "head")
    assert (head.tokens, head.weight_bits, head.side_bits) == (2, 16.0, 0.0)


def test_a_head_that_the_element_cannot_read_runs_beside_the_array():
    found = accelerator_step(
        SHAPE, parse_format("w4a8"), load_accelerator("edge-8x8"), "decode", batch=1, context=64
    )
    on_host = {gemm.name: cost for gemm, cost in found.products if gemm.on_host}
    assert on_host.keys() == {"head"}
    head = on_host["head"]
    assert head.pe_energy_pj == 0 and head.compute_cycles == 0
    # FP16 weights, and FP16 numbers of one token in and out.
    numbers = SHAPE.head_params + SHAPE.hidden + SHAPE.vocabulary
    assert head.traffic_bytes == 2 * numbers
    assert head.cycles == -(
        -head.traffic_bytes * 8 // load_accelerator("edge-8x8").dram_bits_per_cycle
    )


def test_elements_leak_as_their_record_says():
    found = accelerator_step(
        SHAPE, parse_format("w4a8"), load_accelerator("edge-8x8"), "decode", batch=1, context=64
    )
    record = load_record("mixpe-w4a8")
    assert found.static_energy_j == pytest.approx(64e-6 * record.leakage_uw * found.time_s)
    assert step(context=1).static_energy_j == 0.0 and step(context=1).leakage_w is None


def test_a_window_is_all_that_its_layers_read():
    run = partial(
        accelerator_step,
        load_model("mistral-7b"),
        parse_format("bitmod-fp4"),
        load_accelerator("bitmod"),
        batch=1,
    )
    near, far = (run("decode", context=context) for context in (4096, 30000))
    assert near.time_s == far.time_s and near.dram_energy_j == far.dram_energy_j
    chunk = run("prefill", context=30000, new=100)
    assert {g.outputs for g, _ in chunk.products if g.name == "scores"} == {4096 + 99}
