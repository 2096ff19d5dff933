"""The cocotb bench of a PE, which a simulator runs on the emitted Verilog.

Beats, expected results and the latency are read from the file that ``QSIM_VECTORS`` names.
"""

import json
import os
from pathlib import Path
from random import Random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly

#: Cycles without a transfer after which the bench fails.
PATIENCE = 200
#: Probabilities that the sink is ready, without and with back-pressure, for ``TURN`` cycles each.
TAKEN_OFTEN, TAKEN_SELDOM = 0.8, 0.04
TURN = 64
#: Number of cycles of offered beats after two groups have filled the pipeline, before a reset.
MARGIN = 3


class _Bench:
    """Drives both streams of the PE at falling edges."""

    def __init__(self, dut: object) -> None:
        self.clk, self.rst = dut.clk, dut.rst  # type: ignore[attr-defined]
        self.beat, self.offer = dut.operands__payload, dut.operands__valid  # type: ignore[attr-defined]
        self.taken = dut.operands__ready  # type: ignore[attr-defined]
        self.result, self.has_result = dut.result__payload, dut.result__valid  # type: ignore[attr-defined]
        self.take = dut.result__ready  # type: ignore[attr-defined]
        vectors = json.loads(Path(os.environ["QSIM_VECTORS"]).read_text(encoding="utf-8"))
        self.beats: list[int] = vectors["beats"]
        self.latency: int = vectors["latency"]
        mask = (1 << len(self.result)) - 1
        self.results = [value & mask for value in vectors["results"]]
        self.length = len(self.beats) // len(self.results)
        self.cycles: int = vectors["cycles"]
        #: Beats and result of groups that do not depend on earlier groups.
        self.independent = _groups(mask, **vectors["independent"])

    def group(self, index: int) -> list[int]:
        """Return the beats of one group."""
        return self.beats[index * self.length : (index + 1) * self.length]

    async def start(self) -> None:
        """Start the clock and reset."""
        Clock(self.clk, 10, unit="ns").start()
        self.offer.value = self.take.value = self.beat.value = 0
        await self.reset()

    async def reset(self, cycles: int = 2) -> None:
        """Assert reset for some cycles, with ``valid`` and ``ready`` deasserted."""
        self.rst.value = 1
        for _ in range(cycles):
            await FallingEdge(self.clk)
        self.rst.value = self.offer.value = 0
        await ReadOnly()
        assert int(self.has_result.value) == 0, "a result is valid after reset"
        await FallingEdge(self.clk)

    async def flood(self, beats: list[int], cycles: int) -> None:
        """Offer the beats of a group repeatedly for some cycles, without accepting results."""
        index = 0
        self.offer.value = 1
        for _ in range(cycles):
            self.beat.value = beats[index % len(beats)]
            await ReadOnly()
            index += int(self.taken.value)
            await FallingEdge(self.clk)

    async def give(self, beats: list[int]) -> None:
        """Offer beats until all are transferred."""
        for beat in beats:
            self.offer.value, self.beat.value = 1, beat
            await self._until(self.taken, "a beat is never accepted")
            await FallingEdge(self.clk)
        self.offer.value = 0

    async def take_one(self) -> int:
        """Wait for a valid result, accept it and return its bits."""
        self.take.value = 1
        await self._until(self.has_result, "no result became valid")
        found = self.bits
        await FallingEdge(self.clk)
        self.take.value = 0
        return found

    @property
    def bits(self) -> int:
        """The bits of the result."""
        return int(self.result.value)

    async def _until(self, signal: object, message: str) -> None:
        for _ in range(PATIENCE):
            await ReadOnly()
            if int(signal.value):  # type: ignore[attr-defined]
                return
            await FallingEdge(self.clk)
        raise AssertionError(message)


def _groups(mask: int, beats: list[int], results: list[int]) -> list[tuple[list[int], int]]:
    """Return the beats and the result of each group."""
    length = len(beats) // len(results)
    starts = range(0, len(beats), length)
    return [
        (beats[start : start + length], result & mask)
        for start, result in zip(starts, results, strict=True)
    ]


@cocotb.test()
async def results_equal_the_golden_model(dut: object) -> None:
    """Check every group's result, with gaps between beats and back-pressure at random.

    The sink alternates between mostly and seldom ready, so that results stay pending for longer
    than a group takes.
    """
    bench = _Bench(dut)
    await bench.start()
    random, bits = Random(1), len(bench.beat)
    found: list[int] = []
    next_beat = cycle = last_progress = 0
    while len(found) < len(bench.results):
        assert cycle - last_progress < PATIENCE, f"{len(found)} results for {next_beat} beats"
        cycle += 1
        is_offered = next_beat < len(bench.beats) and random.random() < 0.8
        bench.offer.value = int(is_offered)
        # The payload is random while valid is low, where it must have no effect.
        bench.beat.value = bench.beats[next_beat] if is_offered else random.getrandbits(bits)
        is_taken = random.random() < (TAKEN_OFTEN, TAKEN_SELDOM)[cycle // TURN & 1]
        bench.take.value = int(is_taken)
        await ReadOnly()
        if is_taken and int(bench.has_result.value):
            found.append(bench.bits)
            last_progress = cycle
        if is_offered and int(bench.taken.value):
            next_beat, last_progress = next_beat + 1, cycle
        await FallingEdge(bench.clk)
    assert next_beat == len(bench.beats), "a result before its last beat"
    assert found == bench.results


@cocotb.test()
async def a_result_comes_after_its_latency_and_waits(dut: object) -> None:
    """Check the latency after the last beat, and that a result is held until it is transferred."""
    bench = _Bench(dut)
    await bench.start()
    for index in range(min(8, len(bench.results))):
        await bench.give(bench.group(index))
        for _ in range(bench.latency - 1):
            assert int(bench.has_result.value) == 0, "a result is valid before its latency"
            await FallingEdge(bench.clk)
        for _ in range(3):
            assert int(bench.has_result.value) == 1
            assert bench.bits == bench.results[index]
            await FallingEdge(bench.clk)
        bench.take.value = 1
        await FallingEdge(bench.clk)
        bench.take.value = 0
        assert int(bench.has_result.value) == 0, "a result is valid after its transfer"


@cocotb.test()
async def a_waiting_result_is_not_overwritten_by_the_next_groups(dut: object) -> None:
    """Check that under back-pressure no result is lost and that results keep their order."""
    bench = _Bench(dut)
    await bench.start()
    count = min(5, len(bench.results))
    offered = [beat for index in range(count) for beat in bench.group(index)]
    next_beat = 0
    for _ in range(PATIENCE + len(offered)):
        if next_beat == len(offered):
            break
        bench.offer.value, bench.beat.value = 1, offered[next_beat]
        await ReadOnly()
        next_beat += int(bench.taken.value)
        if int(bench.has_result.value):
            assert bench.bits == bench.results[0]
        await FallingEdge(bench.clk)
    assert next_beat < len(offered), "beats were accepted without end while a result was pending"
    giving = cocotb.start_soon(bench.give(offered[next_beat:]))
    for index in range(count):
        assert await bench.take_one() == bench.results[index]
    await giving


@cocotb.test()
async def reset_forgets_everything(dut: object) -> None:
    """Check that a reset in any cycle clears all state that the next group could see.

    Before the reset, a group is offered repeatedly while no result is accepted: resets in each
    cycle meet every step of a beat, a full pipeline, a pending result and a stalled beat.
    """
    bench = _Bench(dut)
    await bench.start()
    groups = bench.independent
    for index, (before, _) in enumerate(groups):
        for after, result in (groups[index - 1], groups[(index + 1) % len(groups)]):
            for cycles in range(2 * bench.cycles * len(before) + bench.latency + MARGIN):
                await bench.flood(before, cycles)
                await bench.reset(1)
                for _ in range(bench.latency):
                    await FallingEdge(bench.clk)
                    assert int(bench.has_result.value) == 0, "a result from before reset"
                await bench.give(after)
                assert await bench.take_one() == result
