import pytest

from hw import measure
from hw.measure import Ceiling, Measurement, Sizes, read_bandwidth, repeat


def ceiling(name, *rates):
    return Ceiling(name=name, rates=rates, setting="")


def test_a_ceiling_is_the_best_and_scatter_is_reported():
    steady, shaken = ceiling("float32", 9.0, 10.0, 9.5), ceiling("read", 10.0, 7.0, 7.4)
    assert (steady.best, shaken.best) == (10.0, 10.0)
    found = Measurement(
        cpu="",
        cores=1,
        memory_bytes=1,
        products=(steady,),
        read=shaken,
        prompt=ceiling("prompt", 8.0, 9.0, 7.0),
        vector=ceiling("vector", 5.0),
        libraries="",
    )
    assert found.unstable == ("read",)
    assert (found.compute_share, found.memory_share) == (0.8, 0.5)


def test_reading_is_timed_for_every_kernel_and_number_of_threads(monkeypatch):
    settings = []

    def fake(call, repetitions):
        call()
        settings.append(repetitions)
        return [0.5, 0.25]

    monkeypatch.setattr(measure, "repeat", fake)
    found = read_bandwidth(1 << 20, 4, 2)
    assert settings == [2] * 9
    assert (found.best, found.setting) == ((1 << 20) / 0.25, "sum, 1 thread")


def test_one_call_more_than_counted_is_made():
    calls = []
    assert len(repeat(lambda: calls.append(1), 3)) == 3
    assert len(calls) == 4


SMALLEST = Sizes(sides=(16,), prompt=4, layer_bytes=1, allocations=1, read_bytes=1 << 16)


def test_this_machine_has_rates():
    found = measure.measure(repetitions=1, sizes=SMALLEST)
    assert [c.name for c in found.products] == ["float32", "float64", "bfloat16", "int8"]
    assert all(c.best > 1e3 for c in (*found.products, found.read, found.prompt, found.vector))
    assert found.cpu and found.cores >= 1 and "jax" in found.libraries
    assert found.prompt.setting == "2 layers of width 512"


@pytest.mark.slow
def test_a_large_product_is_faster_than_a_small_one():
    found = measure.measure(repetitions=3, sizes=Sizes(sides=(16, 1024)))
    assert found.products[0].setting == "1024 x 1024"
