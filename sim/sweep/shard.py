"""Shards of a sweep: each machine measures the points whose keys fall to it.

A SLURM array, each task with a store on its own disk, whose parts ``qsim merge results/part-* --out
DIR`` joins after the last task::

    #!/bin/bash
    #SBATCH --array=1-8
    set -e
    part=$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT
    qsim sweep --format all --shard $part --out $TMPDIR/part
    mkdir -p results && cp -r $TMPDIR/part results/part-$SLURM_ARRAY_TASK_ID

The same from Python, with submitit::

    import subprocess, tempfile, submitit

    def measure(i):
        with tempfile.TemporaryDirectory() as disk:
            sweep = ["qsim", "sweep", "--format", "all", "--shard", f"{i}/8", "--out", disk]
            subprocess.run(sweep, check=True)
            subprocess.run(["cp", "-r", disk, f"results/part-{i}"], check=True)

    executor = submitit.AutoExecutor("jobs")
    executor.update_parameters(timeout_min=240, cpus_per_task=4, mem_gb=8)
    for job in executor.map_array(measure, range(1, 9)):
        job.result()
"""

import re
from dataclasses import dataclass

from sim.errors import UserError


@dataclass(frozen=True, slots=True)
class Shard:
    """Part ``index`` of ``count`` of a sweep's points; ``index`` counts from 1."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def holds(self, key: str) -> bool:
        """Return whether a point belongs here, by its content key (SHA-256 in hexadecimal).

        Every key is in exactly one shard of a count, on every machine.
        """
        return int(key, 16) % self.count == self.index - 1


def parse_shard(text: str) -> Shard:
    """Return the shard that ``--shard`` names.

    >>> parse_shard("2/8")
    Shard(index=2, count=8)
    """
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if match is None:
        raise UserError(f"--shard {text!r} is not of the form i/n; give 1/4, 2/4, 3/4 or 4/4")
    shard = Shard(int(match[1]), int(match[2]))
    if shard.count < 1:
        raise UserError(f"--shard {text} has no shards; give at least 1/1")
    if not 1 <= shard.index <= shard.count:
        n = shard.count
        raise UserError(f"--shard {text} is outside of 1/{n} to {n}/{n}; shards count from 1")
    return shard
