"""Mixtures of experts: which are read, at random and at worst, on one machine and on several."""

from dataclasses import replace
from itertools import combinations, product

import pytest

from hw.machine import load_machine
from roofline.model.model_shape import load_model
from roofline.runtime.serving_format import parse_format
from roofline.time.energy import step_energy
from roofline.time.links import all_to_all_s
from roofline.time.predict import link_s, predict_step
from roofline.workload.memory import expert_bytes, memory_use, weight_bytes
from roofline.workload.operators import operators
from roofline.workload.products import expert_load
from roofline.workload.setup import Setup
from roofline.workload.step import Options, Sequences

MIXTRAL = load_model("mixtral-8x7b")
FP16 = parse_format("fp16")


def amounts(step, options, shape=MIXTRAL):
    found = operators(shape, FP16, step, options=options)
    (down,) = (op for op in found if op.name == "expert down")
    return float(down.weight_bytes), float(down.ops)


@pytest.mark.parametrize("tokens", [1, 2, 3])
def test_choices_at_random_touch_as_many_experts_as_all_choices_on_average(tokens):
    experts = replace(MIXTRAL.experts, count=5, per_token=2)
    sets = list(combinations(range(5), 2))
    unions = [len(set().union(*chosen)) for chosen in product(sets, repeat=tokens)]
    found, assigned = expert_load(experts, tokens, Options())
    assert found == pytest.approx(sum(unions) / len(unions))
    assert assigned == 2 * tokens


def test_the_worst_choices_are_all_different():
    worst = Options(routing="worst")
    for tokens, touched in ((1, 2), (3, 6), (4, 8), (100, 8)):
        step = [Sequences(batch=tokens, new=1, context=9)]
        read, ops = amounts(step, worst)
        assert read == pytest.approx(touched * 2 * 14336 * 4096 * 32)
        at_random = amounts(step, Options())
        assert at_random[0] <= read and at_random[1] == ops
    # One token always reads its own experts.
    one = [Sequences(batch=1, new=1)]
    assert amounts(one, worst) == amounts(one, Options())


def test_machines_share_experts():
    alone = amounts([Sequences(batch=32, new=1)], Options())
    shared = amounts([Sequences(batch=8, new=1)], Options(expert_machines=4))
    assert shared == (pytest.approx(alone[0] / 4), pytest.approx(alone[1] / 4))
    # At worst one machine has all the work, on the two experts that it keeps.
    busy = amounts([Sequences(batch=8, new=1)], Options(expert_machines=4, routing="worst"))
    assert busy == (pytest.approx(2 * 2 * 14336 * 4096 * 32), pytest.approx(alone[1]))


def test_a_step_of_machines_that_share_experts():
    machine = load_machine("h100-sxm")
    setup = Setup(shape=MIXTRAL, format=FP16, machine=machine, machines=4, parallel="expert")
    step = [Sequences(batch=64, new=1, context=1000)]
    shared = predict_step(setup, step, "expected")
    by_name = {op.operator.name: op.operator for op in shared.operators}
    # Attention has a quarter of the sequences, and all of its weights.
    assert by_name["attention"].kv_bytes == pytest.approx(16 * 1001 * 4096 * 32)
    assert by_name["o"].weight_bytes == 2 * 4096 * 4096 * 32
    assert by_name["expert down"].weight_bytes == pytest.approx(2 * 2 * 14336 * 4096 * 32, rel=1e-6)
    # Two exchanges a layer: 16 tokens, to two experts each, in FP16.
    message = 16 * 2 * 4096 * 2
    assert float(link_s(setup, 64)) == pytest.approx(2 * 32 * all_to_all_s(machine, 4, message))
    worst = predict_step(replace(setup, options=Options(routing="worst")), step, "expected")
    assert worst.time_s >= shared.time_s
    # The bound is lower than the time of any way to distribute experts.
    assert predict_step(setup, step).time_s < shared.time_s


def test_an_exchange_by_hand():
    machine = load_machine("h100-sxm")
    rate = 0.8 * machine.link_gb_per_s.value / 2 * 1e9
    latency = all_to_all_s(machine, 2, 0) - 5e-6
    assert all_to_all_s(machine, 4, 4e6) == pytest.approx(5e-6 + 3 * (latency + 1e6 / rate))
    assert all_to_all_s(machine, 1, 1e6) == 0.0


def test_every_machine_has_the_rest():
    setup = Setup(shape=MIXTRAL, format=FP16, machine=load_machine("h100-sxm"), machines=4)
    one = weight_bytes(MIXTRAL, FP16)
    experts = expert_bytes(MIXTRAL, FP16)
    assert experts == 2 * 32 * 8 * 3 * 4096 * 14336
    for parallel, expected in (("tensor", one), ("expert", experts + 4 * (one - experts))):
        use = memory_use(replace(setup, parallel=parallel), batch=1, length=10, new=1)
        assert use.weight_bytes == pytest.approx(expected)


@pytest.mark.parametrize("name,machines,have", [("llama-2-7b", 2, "no"), ("mixtral-8x7b", 9, "8")])
def test_what_has_too_few_experts(name, machines, have):
    with pytest.raises(ValueError, match=f"has {have} experts to share among {machines} machines"):
        Setup(
            shape=load_model(name),
            format=FP16,
            machine=load_machine("h100-sxm"),
            machines=machines,
            parallel="expert",
        )


def test_no_routing_reads_less_than_the_bound():
    machine = load_machine("h100-sxm")
    step = [Sequences(batch=64, new=1, context=1000)]
    setup = Setup(shape=MIXTRAL, format=FP16, machine=machine)
    bound = {op.operator.name: op.operator for op in predict_step(setup, step).operators}
    # All 64 tokens choose the same two experts.
    assert bound["expert down"].weight_bytes == 2 * 2 * 14336 * 4096 * 32
    assert bound["expert down"].ops == 2 * 64 * 2 * 14336 * 4096 * 32
    found = operators(MIXTRAL, FP16, step, options=Options(routing="same", expert_machines=4))
    (down,) = (op for op in found if op.name == "expert down")
    assert down.weight_bytes == 2 * 2 * 14336 * 4096 * 32 / 4


def test_energy_is_that_of_all_machines():
    setup = Setup(shape=MIXTRAL, format=FP16, machine=load_machine("h100-sxm"), machines=8)
    step = [Sequences(batch=64, new=1, context=1000)]

    def energy(parallel):
        one = replace(setup, parallel=parallel)
        return step_energy(one, predict_step(one, step, "expected"))

    tensor, expert = energy("tensor"), energy("expert")
    assert expert.compute.nominal_j == pytest.approx(tensor.compute.nominal_j)
    assert expert.kv_off_chip.nominal_j == pytest.approx(tensor.kv_off_chip.nominal_j)
    # Experts are read once, and each machine reads all the rest.
    experts, rest = expert_bytes(MIXTRAL, FP16), 32 * 2 * (2 * 4096**2 + 2 * 4096 * 1024 + 4096 * 8)
    rest += 2 * 4096 * 32000
    every = (experts + 8 * rest) / (experts + rest)
    ratio = expert.weights_off_chip.nominal_j / tensor.weights_off_chip.nominal_j
    assert ratio == pytest.approx(every, rel=1e-3)
