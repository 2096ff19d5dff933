"""Energy of a step, component by component."""

import pytest

from hw.machine import load_machine
from roofline.model.model_shape import load_model
from roofline.runtime.serving_format import parse_format
from roofline.time.energy import step_energy
from roofline.time.predict import predict_step
from roofline.workload.setup import Setup
from roofline.workload.step import Sequences


def setup(model="llama-2-7b", fmt="fp16", machine="a100-sxm-80gb", **more):
    return Setup(
        shape=load_model(model), format=parse_format(fmt), machine=load_machine(machine), **more
    )


def step_ms(one, batch=1, new=1, context=2047, estimate="bound"):
    found = predict_step(one, [Sequences(batch=batch, new=new, context=context)], estimate)
    return 1e3 * float(found.time_s)


def test_energy_of_weights_is_bytes_times_energy_per_bit():
    one = setup()
    found = step_energy(one, predict_step(one, [Sequences(batch=1, new=1)], "expected"))
    # 13.214 GB at 6 pJ a bit.
    assert found.weights_off_chip.nominal_j == pytest.approx(0.634, abs=5e-4)
    assert found.compute.nominal_j < 0.02 * found.total.nominal_j
    assert found.total.low_j < found.total.nominal_j < found.total.high_j
    assert found.total.nominal_j == pytest.approx(sum(p.nominal_j for p in found.parts.values()))
    assert found.limit_j == pytest.approx(400 * step_ms(one, context=0, estimate="expected") / 1e3)
