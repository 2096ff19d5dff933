"""Whole requests: chunks, cost, speculation, pipelines."""

import numpy as np
import pytest

from hw.machine import load_machine
from roofline.model.model_shape import load_model
from roofline.runtime.serving_format import parse_format
from roofline.time.energy import step_energy
from roofline.time.predict import predict_step
from roofline.time.serving import (
    Request,
    Speculation,
    expected_tokens,
    outcome,
    pipelined_s,
    predict,
    speculative_tpot_s,
)
from roofline.workload.memory import (
    weight_bytes,
)
from roofline.workload.setup import Setup
from roofline.workload.step import Sequences


def setup(model="llama-2-7b", fmt="fp16", machine="a100-sxm-80gb", **more):
    return Setup(
        shape=load_model(model), format=parse_format(fmt), machine=load_machine(machine), **more
    )


def step_ms(one, batch=1, new=1, context=2047, estimate="bound"):
    found = predict_step(one, [Sequences(batch=batch, new=new, context=context)], estimate)
    return 1e3 * float(found.time_s)


def test_prompts_go_through_llama_cpps_gpus_in_passes_of_512():
    def prefill_s(one, tokens):
        return outcome(one, Request(prompt=tokens), "expected").prefill_s

    def step_s(one, tokens):
        return 1e-3 * step_ms(one, new=tokens, context=0, estimate="expected")

    layers = {"machine": "rtx-4090", "machines": 4, "parallel": "pipeline"}
    gguf, dense = setup(fmt="gguf-q4_0", **layers), setup(fmt="w4a16", **layers)
    assert prefill_s(gguf, 512) == pytest.approx(step_s(gguf, 512))
    # Two batches of four passes through four stages: one whole pass, and three quarters.
    assert prefill_s(gguf, 4096) == pytest.approx(step_s(gguf, 4096) / 8 * 2 * (1 + 3 / 4))
    assert prefill_s(gguf, 1024) == pytest.approx(step_s(gguf, 1024) / 2 * (1 + 1 / 4))
    assert prefill_s(dense, 4096) == pytest.approx(step_s(dense, 4096))
    rows = setup(fmt="gguf-q4_0", machine="rtx-4090", machines=4)
    assert prefill_s(rows, 4096) == pytest.approx(step_s(rows, 4096))


def test_a_request_sums_every_step():
    one, request = setup("llama-3-8b", "w4a16"), Request(batch=4, prompt=100, output=10)
    found = outcome(one, request, "expected")
    steps = [step_ms(one, batch=4, context=100 + i, estimate="expected") for i in range(10)]
    assert found.tpot_s == pytest.approx(np.mean(steps) / 1e3)
    assert found.ttft_s == pytest.approx(
        step_ms(one, batch=4, new=100, context=0, estimate="expected") / 1e3
    )
    whole = found.prefill_s + 10 * found.tpot_s
    assert found.output_tokens_per_s == pytest.approx(40 / whole)


def test_chunks_read_weights_once_each():
    one = setup("llama-3-8b")
    whole = outcome(one, Request(prompt=1000), "bound").prefill_s
    chunked = outcome(one, Request(prompt=1000, chunk=100), "bound").prefill_s
    pieces = [step_ms(one, new=100, context=100 * i) for i in range(10)]
    assert chunked == pytest.approx(sum(pieces) / 1e3) and chunked > whole


def test_cost_is_price_over_rate():
    found = predict(setup(), Request(batch=8))
    price = load_machine("a100-sxm-80gb").price_usd_per_hour.value
    expected = price / (found.expected.output_tokens_per_s * 3600) * 1e6
    assert found.cost_usd_per_mtok() == pytest.approx(expected)
    assert found.cost_usd_per_mtok(0.5) == pytest.approx(2 * expected)
    assert predict(setup(machine="rtx-4090", fmt="w4a16"), Request()).cost_usd_per_mtok() is None


def test_speculation():
    assert expected_tokens(4, 0.8) == pytest.approx(sum(0.8**i for i in range(5)))
    assert (expected_tokens(3, 1.0), expected_tokens(3, 0.0)) == (4.0, 1.0)
    big, small = setup("llama-2-70b", "w4a16"), setup("tinyllama-1.1b", "w4a16")
    plain = outcome(big, Request(), "expected").tpot_s
    speculation = Speculation(draft=small, proposals=4, acceptance=0.8)
    fast = speculative_tpot_s(big, speculation, Request())
    assert plain / 3.3616 < fast < plain
    found, without = (predict(big, Request(), speculation=one) for one in (speculation, None))
    assert found.expected.tpot_s == fast > found.bound.tpot_s
    assert found.expected.ttft_s > without.expected.ttft_s
    drafted = weight_bytes(small.shape, small.format)
    assert found.memory.weight_bytes == without.memory.weight_bytes + drafted
    assert found.largest_batch < without.largest_batch
    # The weights are read once for 3.4 tokens, but the draft's for each proposal.
    assert found.energy_per_token_j < without.energy_per_token_j
    check = step_energy(big, found.expected.decode).compute.nominal_j / 3.3616
    assert check < found.decode_energy.compute.nominal_j < 1.3 * check
    with pytest.raises(ValueError, match="from 0 to 1"):
        expected_tokens(4, 1.5)


def test_a_pipeline_fills():
    assert pipelined_s(8.0, stages=4, micro_batches=1) == 8.0
    assert pipelined_s(8.0, stages=4, micro_batches=5) == 16.0


@pytest.mark.parametrize("name", ["batch", "prompt", "output", "chunk"])
def test_sizes_are_positive(name):
    with pytest.raises(ValueError, match=f"{name} is 0; at least 1"):
        Request(**{name: 0})


def test_a_request_beyond_the_context():
    with pytest.raises(ValueError, match="context of 4096 tokens"):
        predict(setup(), Request(prompt=4000, output=97))


def test_a_price_wants_some_use_and_a_request_whole_sequences():
    prediction = predict(setup(), Request(batch=1, prompt=16, output=16))
    assert prediction.cost_usd_per_mtok(0.5) == pytest.approx(2 * prediction.cost_usd_per_mtok())
    for utilization in (0, -1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="more than 0 and at most 1"):
            prediction.cost_usd_per_mtok(utilization)
    for batch in (0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"batch is .*; at least 1"):
            Request(batch=batch)
