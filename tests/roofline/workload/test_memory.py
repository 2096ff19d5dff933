"""What fits into the memory of one machine or of several."""

import pytest

from hw.machine import load_machine
from roofline.model.model_shape import load_model
from roofline.runtime.serving_format import parse_format
from roofline.time.predict import predict_step
from roofline.time.serving import (
    Request,
    predict,
)
from roofline.workload.memory import (
    equal_context,
    kv_bytes_per_sequence,
    largest_batch,
    memory_use,
    weight_bytes,
)
from roofline.workload.setup import Setup
from roofline.workload.step import Sequences


def setup(model="llama-2-7b", fmt="fp16", machine="a100-sxm-80gb", **more):
    return Setup(
        shape=load_model(model), format=parse_format(fmt), machine=load_machine(machine), **more
    )


def test_memory_and_the_largest_batch():
    one = setup("llama-2-7b")
    assert weight_bytes(one.shape, one.format) == 2 * 6_738_415_616
    use = memory_use(one, batch=3, length=1000, new=1)
    assert use.kv_bytes == 3 * 1000 * 524288 and use.missing_bytes == 0
    batch = largest_batch(one, length=2048, usable=1.0)
    for size, fits in ((batch, True), (batch + 1, False)):
        use = memory_use(one, batch=size, length=2048, new=1)
        per_sequence = memory_use(one, batch=1, length=2048, new=1).activation_bytes
        need = use.weight_bytes + use.kv_bytes + size * per_sequence
        assert (need <= 80 * 2**30) is fits
    assert largest_batch(setup("llama-2-70b"), length=1) == 0
    assert equal_context(one) == pytest.approx(13_476_831_232 / 524288)
    experts = setup("mixtral-8x7b")
    assert weight_bytes(experts.shape, experts.format) == pytest.approx(2 * 46_702_792_704)


def test_a_chunk_longer_than_the_prompt_is_the_prompt():
    found = [predict(setup(), Request(prompt=512, chunk=chunk)) for chunk in (None, 100_000)]
    assert found[0].largest_batch == found[1].largest_batch


def test_machines_beyond_the_heads_of_a_cache_hold_copies():
    def use(model, machines):
        return memory_use(setup(model, machines=machines), batch=4, length=1000, new=1)

    # Eight heads go to eight machines; sixteen have each of them twice.
    assert use("llama-3-70b", 8).kv_bytes == use("llama-3-70b", 1).kv_bytes
    assert use("llama-3-70b", 16).kv_bytes == 2 * use("llama-3-70b", 1).kv_bytes
    assert use("deepseek-v3", 8).kv_bytes == 8 * use("deepseek-v3", 1).kv_bytes

    def attention_s(model, machines, estimate):
        step = [Sequences(batch=64, new=1, context=8000)]
        found = predict_step(setup(model, machines=machines), step, estimate)
        return sum(float(op.memory_s) for op in found.operators if op.operator.kind == "attention")

    for model, scaling in (("llama-3-70b", 8.0), ("deepseek-v3", 1.0)):
        one, many = (attention_s(model, count, "expected") for count in (1, 16))
        assert one / many == pytest.approx(scaling, rel=1e-6)
        # Machines may share a sequence by its tokens, so that a bound divides all the same.
        one, many = (attention_s(model, count, "bound") for count in (1, 16))
        assert one / many == pytest.approx(16)


def test_the_context_whose_cache_equals_the_weights_knows_windows():
    for name in ("llama-2-7b", "gemma-3-27b", "gpt-oss-20b"):
        one = setup(name)
        cache = kv_bytes_per_sequence(one.shape, one.format, round(equal_context(one)))
        assert cache == pytest.approx(weight_bytes(one.shape, one.format), rel=1e-3)
    # 32 layers of 4096 tokens are 0.5 GB.
    assert equal_context(setup("mistral-7b")) == float("inf")
