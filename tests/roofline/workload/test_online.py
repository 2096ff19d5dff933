"""Run-time work of methods against counts by hand on a model of two layers."""

from dataclasses import replace

import pytest

from hw.machine import load_machine
from roofline.kernels.efficiency import fitted
from roofline.model.model_shape import ModelShape, load_model
from roofline.runtime.online_work import LowRank, OnlineWork
from roofline.runtime.serving_format import parse_format
from roofline.runtime.storage import weight_storage
from roofline.time.links import all_reduce_s, all_to_all_s
from roofline.time.predict import link_s, predict_step
from roofline.workload.memory import weight_bytes
from roofline.workload.operators import operators
from roofline.workload.setup import Setup
from roofline.workload.step import Options, Sequences

TINY = ModelShape(
    name="tiny", title="tiny", source="test", layers=2, hidden=8, heads=4, kv_heads=2, head_dim=4,
    intermediate=24, vocabulary=32, max_context=64,
)  # fmt: skip
W4A8 = parse_format("w4a8-g8")
STEP = [Sequences(batch=1, new=3)]
INT8 = weight_storage("int8:channel")
RANK_2 = LowRank(rank=2, left=INT8, right=INT8)


def added(work, **options):
    """Operators that the work adds, by name; all others are as without it."""
    with_work = replace(W4A8, online=work)
    plain = operators(TINY, W4A8, STEP, options=Options(**options))
    found = operators(TINY, with_work, STEP, options=Options(**options))
    names = {op.name for op in plain}
    assert [op for op in found if op.name in names] == plain
    return {op.name: op for op in found if op.name not in names}


def test_hadamard_transforms():
    found = added(OnlineWork(down=24, o=4, qk=4))
    assert list(found) == ["q and k Hadamard", "o Hadamard", "down Hadamard"]
    # Additions and multiplications of one token in one layer. 24 = 12 * 2: one stage of butterflies
    # and sums of 12 terms, 24 * (1 + 11). 4: two stages; 16 / 4 = 4 and 24 / 4 = 6 transforms.
    a_token = {"down": 288 + 24, "o": 4 * 8 + 16, "q and k": 6 * 8 + 24}
    values = {"down": 24, "o": 16, "q and k": 24}
    for site, ops in a_token.items():
        one = found[f"{site} Hadamard"]
        assert (one.kind, one.count, one.vector_ops) == ("vector", 2, 3 * 2 * ops)
        # FP16 values, read and written, although the format of activations has 8 bits.
        assert one.activation_bytes == 3 * 2 * values[site] * 2 * 2
        assert (one.ops, one.weight_bytes, one.weights) == (0, 0, 0)
    assert added(OnlineWork(o_values=8))["o Hadamard"].vector_ops == 3 * 2 * (2 * 24 + 16)


def test_low_rank_factors():
    found = added(OnlineWork(low_rank=RANK_2))
    names = ["qkv", "o", "gate and up", "down"]
    assert list(found) == [f"{n} {side} factor" for n in names for side in ("right", "left")]
    # Inputs and outputs of q, k, v, o, gate, up, down.
    sizes = [(8, 16), (8, 8), (8, 8), (16, 8), (8, 24), (8, 24), (24, 8)]
    macs = 2 * 2 * sum(i + o for i, o in sizes)
    assert macs == 704
    assert sum(op.ops for op in found.values()) == 2 * 3 * macs
    assert sum(op.weights for op in found.values()) == macs
    # Codes of 8 bits, and an FP16 scale for each of the 2 rows of 14 factors in 2 layers.
    stored = macs + 2 * 14 * 2 * 2
    assert sum(op.weight_bytes for op in found.values()) == stored
    with_factors = replace(W4A8, online=OnlineWork(low_rank=RANK_2))
    assert weight_bytes(TINY, with_factors) - weight_bytes(TINY, W4A8) == stored
    # Inputs in INT8 once for q, k and v; 3 * 2 sums; results in FP16 are read and written.
    assert found["qkv right factor"].activation_bytes == 3 * 2 * (8 * 1 + 6 * 2)
    assert found["qkv left factor"].activation_bytes == 3 * 2 * (6 * 2 + 2 * 32 * 2)
    assert (found["qkv right factor"].count, found["qkv left factor"].count) == (2, 6)


def test_products_apart_have_factors_of_their_own():
    apart = added(OnlineWork(low_rank=RANK_2), fused_products=False)
    fused = added(OnlineWork(low_rank=RANK_2))
    assert len(apart) == 14 and "up left factor" in apart
    for amount in ("ops", "weight_bytes", "weights"):
        total = [sum(getattr(op, amount) for op in x.values()) for x in (apart, fused)]
        assert total[0] == total[1]


def setup(work, machines=1, **more):
    return Setup(
        shape=load_model("llama-3.1-8b"),
        format=replace(parse_format("w4a16"), online=work),
        machine=load_machine("a100-sxm-80gb"),
        machines=machines,
        **more,
    )


def test_a_transform_of_a_token_takes_the_longer_time_of_its_bytes_and_operations():
    token = [Sequences(batch=1, new=1, context=100)]
    machine = load_machine("a100-sxm-80gb")
    memory_s = 32 * 14336 * 2 * 2 / (2039e9 * fitted().gpu_memory_share)
    reached = machine.vector_ops_per_s * fitted().cpu_native_compute_share
    # Additions of a value: log2(64), and 27 of the Paley matrix of order 28 with log2(512); and one
    # multiplication.
    for order, ops, bound in ((64, 7, "memory"), (14336, 37, "compute")):
        timed = predict_step(setup(OnlineWork(down=order)), token, "expected").operators
        (one,) = (x for x in timed if x.operator.name == "down Hadamard")
        assert one.time_s == pytest.approx(max(memory_s, 32 * 14336 * ops / reached), rel=1e-12)
        assert one.bound == bound
    # A kernel with other operators fused may keep all of it on the chip.
    bounds = [
        predict_step(setup(work), token).time_s for work in (OnlineWork(down=14336), OnlineWork())
    ]
    assert bounds[0] == bounds[1]


def test_machines_exchange_values_of_transforms_that_span_them():
    machine = load_machine("a100-sxm-80gb")
    sums = 64 * all_reduce_s(machine, 2, 6 * 8192.0)

    def sent(work, **more):
        return link_s(setup(work, machines=2, **more), 6)

    assert sent(OnlineWork(down=7168, qk=128)) == sums
    whole = sums + 64 * all_to_all_s(machine, 2, 3 * 2 * 14336)
    assert sent(OnlineWork(down=14336)) == pytest.approx(whole, rel=1e-12)
    heads = sums + 64 * all_to_all_s(machine, 2, 3 * 2 * 4096)
    assert sent(OnlineWork(o=32)) == pytest.approx(heads, rel=1e-12)
    assert sent(OnlineWork(o=16)) == sums
    assert sent(OnlineWork(o=32), parallel="pipeline") == sent(OnlineWork(), parallel="pipeline")


@pytest.mark.parametrize(
    "model,work,message",
    [
        ("mixtral-8x7b", OnlineWork(qk=128), "mixtral-8x7b has experts"),
        ("mixtral-8x7b", OnlineWork(low_rank=RANK_2), "mixtral-8x7b has experts"),
        ("deepseek-v2-lite", OnlineWork(o=16), "deepseek-v2-lite has experts"),
        ("llama-3.1-8b", OnlineWork(down=48), "14336 values can't be rotated in blocks of 48"),
    ],
)
def test_work_that_a_model_cannot_have(model, work, message):
    with pytest.raises(ValueError, match=message):
        operators(load_model(model), replace(W4A8, online=work), STEP)
