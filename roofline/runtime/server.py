"""Servers: how an engine divides a device's memory, and how many requests and tokens a step has.

Facts are those of vLLM 0.33 (``config/cache.py``, ``engine/arg_utils.py``), TensorRT-LLM 1.4 and of
llama.cpp's server (``common/common.h``, 2026). Contexts and graphs are planning figures: CUDA's
context takes 0.2 to 0.5 GiB a process, NCCL and CUDA graphs 0.3 to 2 GiB.
"""

from dataclasses import dataclass

from hw.machine import GIB, Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Memory rules and limits of a server."""

    name: str
    #: Share of the device's memory that the server takes.
    memory_share: float
    #: Bytes of it, on each device, that contexts, communication and graphs need.
    reserved_bytes: float
    #: Tokens of a block of the KV cache; a sequence has whole blocks.
    block_tokens: int
    #: Sequences in one step at most, and tokens of prompts in one step, on devices of at least
    #: ``large_bytes`` and on smaller ones.
    most_sequences: tuple[int, int]
    step_tokens: tuple[int, int]
    large_bytes: float

    def largest_batch(self, machine: Machine) -> int:
        """Return the sequences of a step, at most."""
        return self.most_sequences[machine.capacity_bytes < self.large_bytes]

    def chunk(self, machine: Machine) -> int:
        """Return the prompt tokens of a step, at most."""
        return self.step_tokens[machine.capacity_bytes < self.large_bytes]


#: ``gpu_memory_utilization`` 0.92, blocks of 16 tokens, ``max_num_seqs`` 1024 and
#: ``max_num_batched_tokens`` 8192 from 70 GiB, 256 and 2048 below.
VLLM = Server(
    name="vLLM",
    memory_share=0.92,
    reserved_bytes=1.0 * GIB,
    block_tokens=16,
    most_sequences=(1024, 256),
    step_tokens=(8192, 2048),
    large_bytes=70 * GIB,
)
#: ``--fit`` leaves 1 GiB of a device free; caches are padded to 256 cells, ``n_batch`` is 2048, and
#: ``LLAMA_MAX_SEQ`` 256 bounds the slots (``--parallel``, 4 unless given).
LLAMA_SERVER = Server(
    name="llama.cpp",
    memory_share=1.0,
    reserved_bytes=1.5 * GIB,
    block_tokens=256,
    most_sequences=(256, 256),
    step_tokens=(2048, 2048),
    large_bytes=0.0,
)
