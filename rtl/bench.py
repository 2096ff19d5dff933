"""The cocotb test of a dot product PE, which the simulator runs on the Verilog that users get.

Beats and expected sums come from the file that ``QSIM_VECTORS`` names.
"""

import os

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly

#: Cycles in which a result may come after the last beat.
PATIENCE = 200


class _Bench:
    """Drives both streams of the PE at falling edges."""

    def __init__(self, dut: object) -> None:
        self.clk, self.rst = dut.clk, dut.rst  # type: ignore[attr-defined]
        self.beat, self.offer = dut.operands__payload, dut.operands__valid  # type: ignore[attr-defined]
        self.taken = dut.operands__ready  # type: ignore[attr-defined]
        self.result, self.has_result = dut.result__payload, dut.result__valid  # type: ignore[attr-defined]
        self.take = dut.result__ready  # type: ignore[attr-defined]
        with np.load(os.environ["QSIM_VECTORS"], allow_pickle=False) as vectors:
            self.beats = [int.from_bytes(row.tobytes(), "little") for row in vectors["beats"]]
            self.sums = [int(value) for value in vectors["sums"]]
        self.groups = len(self.beats) // len(self.sums)

    async def start(self) -> None:
        """Start the clock and reset."""
        Clock(self.clk, 10, unit="ns").start()
        self.offer.value = self.take.value = self.beat.value = 0
        await self.reset()

    async def reset(self) -> None:
        """Hold reset for two cycles."""
        self.rst.value = 1
        for _ in range(2):
            await FallingEdge(self.clk)
        self.rst.value = 0
        await FallingEdge(self.clk)
        assert int(self.has_result.value) == 0, "a result after reset"

    async def give(self, beats: list[int]) -> None:
        """Offer beats until all are taken."""
        for beat in beats:
            self.offer.value, self.beat.value = 1, beat
            await self._until(self.taken, "a beat is never taken")
            await FallingEdge(self.clk)
        self.offer.value = 0

    async def _until(self, signal: object, message: str) -> None:
        for _ in range(PATIENCE):
            await ReadOnly()
            if int(signal.value):  # type: ignore[attr-defined]
                return
            await FallingEdge(self.clk)
        raise AssertionError(message)


@cocotb.test()
async def sums_equal_the_golden_model(dut: object) -> None:
    """Check every group's sum, with beats held back and results left waiting as a pattern says."""
    bench = _Bench(dut)
    await bench.start()
    random = np.random.default_rng(1)
    found: list[int] = []
    next_beat = 0
    while len(found) < len(bench.sums):
        is_offered = next_beat < len(bench.beats) and random.random() < 0.8
        bench.offer.value = int(is_offered)
        bench.beat.value = bench.beats[next_beat] if is_offered else 0
        is_taken = random.random() < 0.6
        bench.take.value = int(is_taken)
        await ReadOnly()
        if is_taken and int(bench.has_result.value):
            found.append(bench.result.value.to_signed())
        next_beat += int(is_offered and int(bench.taken.value))
        await FallingEdge(bench.clk)
    assert next_beat == len(bench.beats), "a result before its last beat"
    assert found == bench.sums


@cocotb.test()
async def a_result_comes_in_the_cycle_after_its_last_beat(dut: object) -> None:
    """Check the latency of one cycle, and that a result waits until it is taken."""
    bench = _Bench(dut)
    await bench.start()
    for index in range(min(8, len(bench.sums))):
        beats = bench.beats[index * bench.groups : (index + 1) * bench.groups]
        await bench.give(beats)
        for _ in range(3):
            assert int(bench.has_result.value) == 1
            assert bench.result.value.to_signed() == bench.sums[index]
            await FallingEdge(bench.clk)
        bench.take.value = 1
        await FallingEdge(bench.clk)
        bench.take.value = 0
        assert int(bench.has_result.value) == 0, "a result came twice"


@cocotb.test()
async def a_waiting_result_holds_back_the_end_of_the_next_group(dut: object) -> None:
    """Check that no group is lost and none overtaken."""
    bench = _Bench(dut)
    await bench.start()
    count = bench.groups
    await bench.give(bench.beats[:count])
    await bench.give(bench.beats[count : 2 * count - 1])
    bench.offer.value, bench.beat.value = 1, bench.beats[2 * count - 1]
    for _ in range(5):
        await ReadOnly()
        assert int(bench.taken.value) == 0, "the end of a group overwrote a result"
        assert bench.result.value.to_signed() == bench.sums[0]
        await FallingEdge(bench.clk)
    bench.take.value = 1
    await FallingEdge(bench.clk)
    bench.offer.value = bench.take.value = 0
    assert bench.result.value.to_signed() == bench.sums[1]


@cocotb.test()
async def reset_forgets_a_group(dut: object) -> None:
    """Check that a group which reset cut short leaves nothing in the next."""
    bench = _Bench(dut)
    await bench.start()
    await bench.give(bench.beats[: bench.groups - 1])
    await bench.reset()
    await bench.give(bench.beats[: bench.groups])
    assert int(bench.has_result.value) == 1
    assert bench.result.value.to_signed() == bench.sums[0]
