"""The peer of the compiled harness: cocotb gives a PE one group at a time and checks its result.

Runs inside the simulator. Writes vectors and seconds to the file that ``QSIM_SERIAL`` names.
"""

import os
import time
from pathlib import Path

import cocotb

from rtl.verification.bench import _Bench


@cocotb.test()
async def one_group_after_another(dut):
    bench = _Bench(dut)
    await bench.start()
    started = time.perf_counter()
    for index, expected in enumerate(bench.results):
        await bench.give(bench.group(index))
        assert await bench.take_one() == expected
    seconds = time.perf_counter() - started
    Path(os.environ["QSIM_SERIAL"]).write_text(f"{len(bench.results)} {seconds}")
