"""Fit the efficiencies: shares of the peaks that runs reach, on a few measured points.

``python -m roofline.measured.calibration`` writes ``efficiencies.toml``. The points are kernels of
bitnet.cpp's GPU README on an A100 40 GB, CPU runs of llama.cpp and ik_llama.cpp pull requests and
issues, and llama-roofline's context sweep. No test scores predictions on them.

Fitted for GPUs: a share of the bandwidth, the bytes of narrow weights that a multiprocessor reads
in a cycle, the cycles to start a kernel of each path, and the shares of the peaks that llama.cpp's
tiles reach, on prompts of its pull requests. Fitted for CPUs: a share of the
bandwidth, a share of the peak of each path and of attention, and the wait for the last thread.
GEMMs of a GPU's library take a published share (:mod:`roofline.kernels.efficiency`); other kernels
and attention on GPUs take the shares of CPUs.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

from hw.cpu import OPS_PER_CYCLE
from hw.machine import Machine, load_machine
from roofline.kernels.efficiency import FILE, fitted, last_of
from roofline.kernels.paths import attention_path, weight_path
from roofline.model.model_shape import load_model
from roofline.runtime.engine import LLAMA_CPP, LLAMA_CPP_2024, LLAMA_CPP_2025, Engine
from roofline.runtime.serving_format import parse_format
from roofline.time.predict import predict_step
from roofline.workload.operators import operators
from roofline.workload.setup import Setup
from roofline.workload.step import Sequences

#: Machine, engine, model, format, tokens of the prompt, tokens of a pass, tokens/s.
TilePoint = tuple[str, Engine, str, str, int, int, float]
#: Matrix-vector products on an A100 40 GB: rows, columns and microseconds; in BF16, and with 2-bit
#: weights and INT8 activations.
GEMV_BF16 = [
    (20480, 3200, 112.39),
    (13824, 2560, 59.51),
    (2560, 6912, 37.78),
    (3200, 10240, 60.79),
    (2560, 2560, 18.32),
]
GEMV_W2A8 = [(2560, 2560, 13.32), (20480, 3200, 30.99)]
#: Decode on CPUs: machine, threads, model, format and tokens/s.
DECODE = [
    ("ryzen-7950x", 4, "llama-3.1-8b", "gguf-q4_0", 13.88),
    ("ryzen-7950x", 4, "llama-3.1-8b", "gguf-q8_0", 7.79),
    ("core-i5-6500", 4, "llama-7b", "gguf-q4_0", 1000 / 253.7),
]
#: Threads and tokens/s of Llama-3.1-8B in BF16 on a Threadripper PRO 5975WX. The number of its
#: memory channels in use is unknown, so the point gives what one core reads, not the share.
ONE_CORE = [(1, 2.06)]
#: Prompts of 512 tokens on CPUs: machine, threads, model, format and tokens/s.
PREFILL = [
    ("ryzen-7950x", 16, "llama-3.1-8b", "gguf-q4_0", 165.26),
    ("ryzen-7950x", 16, "llama-3.1-8b", "gguf-q8_0", 169.26),
    ("threadripper-pro-5975wx", 32, "llama-3.1-8b", "gguf-q4_0", 212.70),
    ("threadripper-pro-5975wx", 32, "llama-3.1-8b", "gguf-q8_0", 217.14),
    ("threadripper-pro-5975wx", 32, "llama-3.1-8b", "gguf-bf16", 152.80),
]
#: Format and decode tokens/s of TinyLlama-1.1B on all threads of a Threadripper PRO 7995WX, where
#: threads mostly wait for one another.
SYNCHRONISATION = [("gguf-f16", 52.0), ("gguf-q8_0", 60.0)]
#: Tokens in the KV cache and decode tokens/s of Qwen2.5-0.5B Q4_K_M with 8 threads on an i7-12700H,
#: which has 6 performance cores.
CONTEXT_THREADS = 8
CONTEXT = [(0, 83.6), (512, 80.5), (2048, 62.2), (8192, 32.8)]
#: Prompts in llama.cpp's INT8 tiles on GPUs, attention not fused; pull requests 7676, 7860, 8062.
TILES = [
    ("rtx-4090", LLAMA_CPP_2024, "llama-3-8b", "gguf-q4_0", 512, 512, 10358.75),
    ("rtx-4090", LLAMA_CPP_2024, "llama-3-8b", "gguf-q5_0", 2048, 512, 10536.44),
    ("rtx-4090", LLAMA_CPP_2024, "llama-3-8b", "gguf-q4_k_s", 2048, 512, 9278.55),
    ("rtx-4090", LLAMA_CPP_2024, "llama-3-8b", "gguf-q2_k", 2048, 512, 8194.04),
    ("rtx-3090", LLAMA_CPP_2024, "llama-3-8b", "gguf-q5_0", 512, 512, 3654.78),
    ("rtx-3090", LLAMA_CPP_2024, "llama-3-8b", "gguf-q5_k_s", 2048, 512, 3532.41),
    ("rtx-3090", LLAMA_CPP_2024, "llama-3-8b", "gguf-q6_k", 2048, 512, 3596.13),
]
#: Prompts of a mixture of experts in INT8 tiles (pull request 17906).
EXPERT_TILES = [
    ("rtx-5090", LLAMA_CPP_2025, "gpt-oss-20b", "gguf-mxfp4", 512, 512, 10560.64),
    ("rtx-5090", LLAMA_CPP_2025, "gpt-oss-20b", "gguf-mxfp4", 4096, 512, 10854.04),
]
#: Prompts of a mixture of experts in FP4 tiles (pull request 17906).
FP4_TILES = [
    ("rtx-5090", LLAMA_CPP, "gpt-oss-20b", "gguf-mxfp4", 512, 512, 13304.80),
    ("rtx-5090", LLAMA_CPP, "gpt-oss-20b", "gguf-mxfp4", 4096, 512, 13806.59),
]
#: Kernels of a layer that all threads start together: qkv, attention, o, gate and up, down.
STARTS_PER_LAYER = 5
#: Iterations after which the share of the bandwidth and the wait of threads have converged.
ROUNDS = 20


def fit() -> dict[str, float]:
    """Return every fitted number by its name in ``efficiencies.toml``."""
    gpu = _fit_gpu()
    memory, wait_us = _cpu_memory()
    native, dequantize = _cpu_compute_shares()
    numbers = fitted()
    tile_share = numbers.gpu_tile_share * _correction(TILES, experts=False)
    expert_rate = numbers.gpu_expert_rate * _correction(EXPERT_TILES, experts=True)
    found = {
        **gpu,
        "gpu_tile_share": tile_share,
        # FP4 tiles are measured on one machine, and compared with its INT8 tiles.
        "gpu_fp4_tile_share": numbers.gpu_fp4_tile_share
        * _correction(FP4_TILES, experts=True)
        / _correction(EXPERT_TILES, experts=True),
        "gpu_expert_rate": expert_rate,
        "cpu_memory_share": memory,
        "cpu_native_compute_share": native,
        "cpu_dequantize_compute_share": dequantize,
        "cpu_attention_compute_share": _cpu_attention_share(),
        "cpu_wait_us": wait_us,
        "cpu_scatter": _cpu_scatter(memory, wait_us, dequantize),
    }
    return {name: float(f"{value:.4g}") for name, value in found.items()}


def _fit_gpu() -> dict[str, float]:
    """Fit ``start + bytes / rate`` to matrix-vector products on the A100, for each path.

    In BF16 the memory limits the rate. The 2-bit weights of the same two shapes are read at two
    thirds of it, because a multiprocessor has fewer bytes of narrow weights in flight. The other
    shapes in BF16 give the scatter.
    """
    machine = load_machine("a100-sxm-40gb")
    cycles = machine.multiprocessor_cycles_per_s
    assert cycles is not None and machine.clock_ghz is not None
    shapes = {point[:2] for point in GEMV_W2A8}
    same = [point for point in GEMV_BF16 if point[:2] in shapes]
    native_rate, native_s = _start_and_rate(same, 2.0)
    expanded_rate, expanded_s = _start_and_rate(GEMV_W2A8, 0.25)
    errors = [
        (native_s + 2.0 * outputs * inputs / native_rate) * 1e6 / time_us - 1.0
        for outputs, inputs, time_us in GEMV_BF16
    ]
    hertz = machine.clock_ghz.value * 1e9
    return {
        "gpu_memory_share": native_rate / machine.bytes_per_s,
        "gpu_expanded_bytes_per_cycle": expanded_rate / cycles,
        "gpu_native_start_cycles": native_s * hertz,
        "gpu_dequantize_start_cycles": expanded_s * hertz,
        "gpu_scatter": max(map(abs, errors)),
    }


def _correction(points: Sequence[TilePoint], *, experts: bool) -> float:
    """Return the factor on the fitted rate of tiles: the median of the machines' medians.

    A point gives the factor with which GEMMs of experts, or of dense layers, take what is left of
    the measured time. Factors converge to 1 when the fit is repeated.
    """
    factors: dict[str, list[float]] = {}
    for point in points:
        factors.setdefault(point[0], []).append(_factor(*point, experts=experts))
    return median(median(found) for found in factors.values())


def _factor(
    name: str,
    engine: Engine,
    model: str,
    fmt: str,
    tokens: int,
    ubatch: int,
    rate: float,
    *,
    experts: bool,
) -> float:
    assert engine.gpu is not None
    engine = replace(engine, gpu=replace(engine.gpu, ubatch_tokens=ubatch))
    setup = Setup(
        shape=load_model(model),
        format=parse_format(fmt),
        machine=load_machine(name),
        engine=engine,
    )
    step = predict_step(setup, [Sequences(batch=1, new=tokens)], "expected")
    tiled_s = sum(
        float(one.compute_s)
        for one in step.operators
        if one.operator.kind == "linear" and one.operator.is_expert == experts
    )
    rest_s = float(step.time_s) - tiled_s
    return tiled_s / (tokens / rate - rest_s)


def _start_and_rate(
    points: Sequence[tuple[int, int, float]], byte_per_weight: float
) -> tuple[float, float]:
    """Return slope in bytes/s and start in seconds of the line through two measurements."""
    (few, few_s), (many, many_s) = sorted(
        (outputs * inputs * byte_per_weight, time_us * 1e-6) for outputs, inputs, time_us in points
    )
    rate = (many - few) / (many_s - few_s)
    return rate, few_s - few / rate


def _read_bytes(model: str, fmt: str, context: int) -> float:
    step = [Sequences(batch=1, new=1, context=context)]
    found = operators(load_model(model), parse_format(fmt), step)
    return float(sum(op.essential_bytes for op in found))


def _cpu_memory() -> tuple[float, float]:
    """Return the share of the bandwidth and the wait in us, fitted in turns until both converge."""
    share, wait_us = 1.0, 0.0
    for _ in range(ROUNDS):
        wait_us = _cpu_wait_us(share)
        share = median(_cpu_memory_shares(wait_us))
    return share, wait_us


def _cpu_memory_shares(wait_us: float) -> list[float]:
    shares = []
    for name, threads, model, fmt, rate in DECODE:
        machine = load_machine(name)
        assert machine.cores is not None
        reachable = min(machine.bytes_per_s, threads * machine.cores.bandwidth_gb_per_s.value * 1e9)
        starts = load_model(model).layers * STARTS_PER_LAYER
        reading_s = 1.0 / rate - starts * wait_us * 1e-6 * last_of(threads)
        shares.append(_read_bytes(model, fmt, 64) / reading_s / reachable)
    return shares


def _cpu_compute_shares() -> tuple[float, float]:
    shares = _shares_by_path()
    return median(shares["native"]), median(shares["dequantize"])


def _shares_by_path() -> dict[str, list[float]]:
    shares: dict[str, list[float]] = {"native": [], "dequantize": []}
    for name, threads, model, fmt, rate in PREFILL:
        machine = load_machine(name)
        found = operators(load_model(model), parse_format(fmt), [Sequences(batch=1, new=512)])
        path = weight_path(machine, parse_format(fmt))
        ops = sum(op.ops for op in found) / 512
        # BF16 weights are converted to FP32 and count as native.
        kind = "native" if path.operand == "fp32" else "dequantize"
        shares[kind].append(float(ops) * rate / (path.ops_per_s * threads / _cores(machine)))
    return shares


def _cpu_scatter(memory: float, wait_us: float, dequantize: float) -> float:
    """Return the largest relative error of a fitted share, of bandwidth or of a peak."""
    found = [share / memory for share in _cpu_memory_shares(wait_us)]
    found += [share / dequantize for share in _shares_by_path()["dequantize"]]
    return max(max(ratio, 1 / ratio) for ratio in found) - 1


def _cpu_wait_us(memory_share: float) -> float:
    """Return the wait at a start in us: a token's time minus its memory time, per kernel start."""
    machine = load_machine("threadripper-pro-7995wx")
    shape = load_model("tinyllama-1.1b")
    left = []
    for fmt, rate in SYNCHRONISATION:
        read = _read_bytes("tinyllama-1.1b", fmt, 64)
        left.append(1.0 / rate - read / (memory_share * machine.bytes_per_s))
    return median(left) * 1e6 / (shape.layers * STARTS_PER_LAYER) / last_of(_cores(machine))


def _cpu_attention_share() -> float:
    """Return the rate of attention over the FP32 peak, from the slope of time over context.

    Two of the threads run on efficiency cores, and the other threads wait for them.
    """
    machine = load_machine("core-i7-12700h")
    depths = [depth for depth, _ in CONTEXT]
    slope_s = float(np.polyfit(depths, [1.0 / rate for _, rate in CONTEXT], 1)[0])
    shape = load_model("qwen2.5-0.5b")
    ops_per_token = 4.0 * shape.heads * shape.head_dim * shape.layers
    path = attention_path(machine, parse_format("gguf-q4_k_m"))
    assert machine.cores is not None and machine.cores.small is not None
    small = machine.cores.small
    of_one = OPS_PER_CYCLE[small.instructions][path.operand] * small.clock_ghz.value * 1e9
    return ops_per_token / slope_s / (CONTEXT_THREADS * of_one)


def _cores(machine: Machine) -> float:
    assert machine.cores is not None
    return machine.cores.count.value


def write(path: Path = FILE) -> None:
    """Write the fitted numbers to a TOML file."""
    lines = [f"{name} = {value}" for name, value in fit().items()]
    head = "# Written by python -m roofline.measured.calibration; its text says from what.\n"
    path.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
