"""Inference engines: one frozen record for each version that behaves differently.

A record says which weight packings an engine runs, what it multiplies on a GPU and on a CPU, and
what it moves in addition to the operators that :mod:`roofline.workload` counts. Nothing else
in the predictor asks for an engine by name. To add one: write a record here, add it to
:data:`ENGINES`, and test one number that it changes.
"""

from dataclasses import dataclass, replace

from hw.cpu import OPS_PER_CYCLE
from hw.machine import OPERANDS, Machine
from roofline.runtime.server import LLAMA_SERVER, VLLM, Server
from roofline.runtime.serving_format import Packing, ServingFormat

#: Weight types for which llama.cpp has CPU kernels that multiply tiles: llamafile's
#: (``llamafile/sgemm.cpp``), and those of weights repacked at load time (``repack.cpp``, since
#: November 2024).
TILED_ARM = frozenset(["q8_0", "q4_0", "iq4_nl", "q4_k", "q5_k", "q6_k"])
TILED_AVX2 = frozenset(["q8_0", "q4_0", "iq4_nl", "q4_k", "q5_0"])
TILED_AVX512 = TILED_AVX2 | {"q2_k"}
X86 = frozenset(name for name in OPS_PER_CYCLE if not name.startswith("neon"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuTiles:
    """CPU kernels that multiply a prompt in tiles, so that its tokens share unpacked weights.

    ``arm``, ``avx2`` and ``avx512`` list the weight types of such kernels; None means every type.
    """

    arm: frozenset[str] | None = None
    avx2: frozenset[str] | None = None
    avx512: frozenset[str] | None = None
    #: Whether ARM tiles are compiled only together with the dot-product instructions.
    needs_dot_products: bool = False
    #: Whether tiles use SMMLA and AMX where a processor has them.
    uses_matrix_instructions: bool = False
    #: Instruction sets on which tiles run as plain AVX2 code, without VNNI.
    as_avx2: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuBackend:
    """A GPU backend with kernels of its own between matrix products, and activations in FP32.

    ``workload`` counts FP16 activations and fused kernels; the factors here convert its amounts.
    """

    #: Prompt tokens that the engine accepts in one call, and that one pass through the weights has.
    batch_tokens: int
    ubatch_tokens: int
    #: Whether one kernel computes scores, softmax and values; else each score goes through memory.
    flash_attention: bool
    #: Prompt tokens from which weights are expanded to FP16 in memory before a library's GEMM.
    dequantize_from_tokens: int
    #: Tokens of a tile in GEMMs of experts; each expert gets a part of the pass's tokens.
    expert_tile_tokens: int
    #: FP32 bytes over the FP16 bytes that ``workload`` counts for activations.
    activation_factor: float
    #: Extra bytes for each FP16 byte of activations that a library's GEMM reads and writes.
    converted_factor: float
    #: Bytes moved for each attention score between unfused kernels; the second where a library
    #: multiplies and scores are converted to FP16 and back.
    score_bytes: float
    converted_score_bytes: float
    #: Kernels for each operator between matrix products, and seconds that a small one takes.
    kernels_per_operator: int
    kernel_s: float
    #: Bytes in flight of FP16 matrix-vector kernels, over those of kernels that expand narrow
    #: weights.
    fp16_bytes_in_flight: float
    #: Vector operations to scale the sums of an INT8 product, for each of its operations.
    int8_scaling_ops: float

    @property
    def operator_s(self) -> float:
        """Seconds of the small kernels that stand for one operator between matrix products."""
        return self.kernels_per_operator * self.kernel_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """How one version of an inference engine runs a model."""

    name: str
    #: Weight packings that the engine loads.
    packings: frozenset[Packing]
    #: Server of the engine: memory rules, sequences and tokens of a step.
    server: Server = VLLM
    #: First pull request of this version, and first pull request of the next; None if current.
    since: int = 0
    until: int | None = None
    #: Whether several machines get some of the layers each by default, not a part of every layer.
    splits_layers: bool = False
    #: Operand types whose GEMMs go to the vendor's library (cuBLAS, rocBLAS) where there is one.
    library_operands: frozenset[str] = frozenset(OPERANDS)
    #: Whether a library's GEMM gets weights expanded in memory; else kernels expand them on chip.
    expands_in_memory: bool = False
    #: Whether the engine's own kernels unpack weights again for each tile of tokens.
    unpacks_in_loop: bool = False
    #: Whether FP4 weights are multiplied by activations in FP4 where a GPU does so.
    multiplies_fp4: bool = False
    #: Whether BF16 products run on matrix units; else on vector units, in FP32.
    has_fast_bf16: bool = True
    #: Whether activations are quantized to INT8 where a machine multiplies INT8 faster than FP16,
    #: and GPU vendors for which the engine has such kernels for prompts.
    quantizes_activations: bool = False
    int8_vendors: frozenset[str] = frozenset()
    #: Whether FP16 products accumulate in FP16 where a machine is faster that way.
    accumulates_fp16: bool = False
    #: Whether deployments often store the KV cache and the head in 8 bits or less; a bound then
    #: assumes that they do.
    narrows_cache_and_head: bool = False
    #: Whether activations of FP4 weights are quantized to FP4 on machines that multiply FP4.
    narrows_activations: bool = False
    #: GPU backend with separate kernels; None where kernels are fused, with FP16 activations.
    gpu: GpuBackend | None = None
    #: Tiles of CPU kernels; None where a prompt's tokens are multiplied one at a time.
    cpu_tiles: CpuTiles | None = None
    #: Whether CPU kernels use the dot-product instructions that a processor has.
    has_dot_products: bool = True

    def __post_init__(self) -> None:
        if self.expands_in_memory and self.gpu is None:
            raise ValueError(f"{self.name} expands weights in memory, but has no GPU backend")

    def runs(self, fmt: ServingFormat) -> bool:
        """Return whether the engine loads weights of a format."""
        return fmt.packing in self.packings

    def uses_library(self, machine: Machine, operand: str) -> bool:
        """Return whether a GEMM of prompts in an operand type goes to the vendor's library."""
        return machine.has_gemm_library and operand in self.library_operands

    def backend(self, machine: Machine) -> GpuBackend | None:
        """Return the GPU backend that runs on a machine, if it is a GPU and the engine has one."""
        return self.gpu if machine.kind == "gpu" else None


#: Engines on the vendor's libraries with fused kernels: vLLM, TensorRT-LLM, ExLlama, MLC.
TENSOR_LIBRARY = Engine(
    name="tensor library",
    packings=frozenset(["plain"]),
    narrows_cache_and_head=True,
    narrows_activations=True,
)
#: Kernels that look partial sums up in tables: T-MAC (arXiv:2407.00088), bitnet.cpp's TL1 and TL2.
TABLE_LOOKUP = Engine(name="table lookup", packings=frozenset(["lookup"]), server=LLAMA_SERVER)
#: llama.cpp's backends for CUDA, ROCm and Metal. ``n_batch`` and ``n_ubatch`` have 2048 and 512
#: tokens, ``MMQ_DP4A_MAX_BATCH_SIZE`` 64, and ``mul_mat_q_case`` takes the widest tile, 128 tokens,
#: for up to 512 of one expert. Activations are FP32: 2x the bytes, and 6 more for 2 to give cuBLAS
#: FP16 and take it back. A score is written, scaled and masked by a softmax and read again, 16
#: bytes in FP32; for a library it is converted to FP16 and back, 8 more
#: (``ggml_cuda_mul_mat_batched_cublas``, ``soft_max_ext``). Six operators between a layer's
#: products take 24 kernels: two norms of two, two rotations, two copies to the cache, a softmax and
#: its copy, a gate of two, two sums, seven quantizations, and three products that are one operator
#: here; a small one takes 1.1 to 1.3 us (pytorch issue 161104). FP16 kernels got 1.33x as fast on
#: an H100 when their loads were widened (pull request 9816). ``mmq.cuh`` converts, multiplies and
#: adds each INT8 sum of 32, one of three instructions at half the rate (CUDA C++ Programming Guide,
#: throughput of arithmetic instructions): 4 instruction slots for 64 operations.
GGML_GPU = GpuBackend(
    batch_tokens=2048,
    ubatch_tokens=512,
    flash_attention=False,
    dequantize_from_tokens=64,
    expert_tile_tokens=128,
    activation_factor=2.0,
    converted_factor=3.0,
    score_bytes=16.0,
    converted_score_bytes=24.0,
    kernels_per_operator=4,
    kernel_s=1.2e-6,
    fp16_bytes_in_flight=1.33,
    int8_scaling_ops=2.0 * 4 / 64,
)
#: Since August 2025 attention is fused where it can be (pull request 15434).
GGML_GPU_2025 = replace(GGML_GPU, flash_attention=True)
#: Since December 2025 (pull request 17906) llama.cpp multiplies MXFP4 in FP4 on Blackwell.
LLAMA_CPP = Engine(
    name="llama.cpp",
    packings=frozenset(["gguf"]),
    server=LLAMA_SERVER,
    since=17906,
    splits_layers=True,
    library_operands=frozenset(["fp16"]),
    expands_in_memory=True,
    unpacks_in_loop=True,
    quantizes_activations=True,
    int8_vendors=frozenset(["NVIDIA"]),
    accumulates_fp16=True,
    multiplies_fp4=True,
    gpu=GGML_GPU_2025,
    cpu_tiles=CpuTiles(
        arm=TILED_ARM,
        avx2=TILED_AVX2,
        avx512=TILED_AVX512,
        needs_dot_products=True,
        uses_matrix_instructions=True,
    ),
)
LLAMA_CPP_2025 = replace(
    LLAMA_CPP, name="llama.cpp of 2025", since=15434, until=17906, multiplies_fp4=False
)
#: Since June 2024 (pull request 8075) llama.cpp multiplies prompts in INT8 on NVIDIA's GPUs.
LLAMA_CPP_2024 = replace(
    LLAMA_CPP_2025, name="llama.cpp of 2024", since=8075, until=15434, gpu=GGML_GPU
)
#: From April 2024 (pull request 6414, tiles on CPUs) to June 2024: cuBLAS multiplied all prompts.
LLAMA_CPP_MAY_2024 = replace(
    LLAMA_CPP_2024, name="llama.cpp of May 2024", since=6414, until=8075, int8_vendors=frozenset()
)
LLAMA_CPP_2023 = replace(
    LLAMA_CPP_MAY_2024, name="llama.cpp of 2023", since=0, until=6414, cpu_tiles=None
)
#: Versions of llama.cpp, the oldest first.
LLAMA_CPP_VERSIONS = (
    LLAMA_CPP_2023,
    LLAMA_CPP_MAY_2024,
    LLAMA_CPP_2024,
    LLAMA_CPP_2025,
    LLAMA_CPP,
)
#: Matrix products in BF16 need ``VK_KHR_shader_bfloat16``, which few drivers have.
LLAMA_CPP_VULKAN = replace(
    LLAMA_CPP,
    name="llama.cpp on Vulkan",
    since=0,
    library_operands=frozenset(),
    expands_in_memory=False,
    multiplies_fp4=False,
    has_fast_bf16=False,
)
#: Until December 2024 (pull request 10890) CMake compiled for plain ARMv8 on Linux, without the
#: dot-product instructions that a processor has.
LLAMA_CPP_ARMV8 = replace(
    LLAMA_CPP_2024, name="llama.cpp for armv8", until=10890, has_dot_products=False
)
#: Fork of llama.cpp with tiles for every type; VNNI tiles need AVX-512 (``HAVE_FANCY_SIMD``).
IK_LLAMA_CPP = replace(
    LLAMA_CPP,
    name="ik_llama.cpp",
    packings=frozenset(["gguf", "ik", "ternary"]),
    since=0,
    multiplies_fp4=False,
    cpu_tiles=CpuTiles(as_avx2=frozenset(["avx2-vnni"])),
)
#: A fork for ternary weights, whose ``ggml_gemm_i2_i8_s`` of January 2026 is AVX2 without VNNI.
BITNET_CPP = replace(
    LLAMA_CPP,
    name="bitnet.cpp",
    packings=frozenset(["ternary"]),
    since=0,
    multiplies_fp4=False,
    cpu_tiles=CpuTiles(as_avx2=X86),
)

#: All engines by name; the first that loads a packing runs it unless another is asked for.
ENGINES: dict[str, Engine] = {
    engine.name: engine
    for engine in (
        TENSOR_LIBRARY,
        TABLE_LOOKUP,
        LLAMA_CPP,
        BITNET_CPP,
        IK_LLAMA_CPP,
        LLAMA_CPP_VULKAN,
        LLAMA_CPP_2025,
        LLAMA_CPP_2024,
        LLAMA_CPP_MAY_2024,
        LLAMA_CPP_2023,
        LLAMA_CPP_ARMV8,
    )
}


def engine_for(fmt: ServingFormat) -> Engine:
    """Return the engine that runs a format unless another is asked for.

    >>> from roofline.runtime.serving_format import parse_format
    >>> [engine_for(parse_format(name)).name for name in ("w4a16", "gguf-q4_0", "i2_s")]
    ['tensor library', 'llama.cpp', 'bitnet.cpp']
    """
    return next(engine for engine in ENGINES.values() if engine.runs(fmt))
