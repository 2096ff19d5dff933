"""Golden tensors of quantized layers, and tiny checkpoints made of them."""

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from sim.sources.hf_files import StoredTensor
from sim.sources.readers.array_types import DTYPES
from sim.sources.readers.grid import Grid
from sim.sources.readers.layer import check_parts
from sim.sources.readers.layout import Layout

GOLDEN = Path(__file__).parents[1] / "golden" / "checkpoints"
TYPES = {dtype: name for name, dtype in DTYPES.items()}


def cases(file: str) -> dict[str, dict[str, Any]]:
    """Return the cases of a golden file."""
    return json.loads((GOLDEN / f"{file}.json").read_text())["cases"]


def array(golden: dict[str, Any]) -> np.ndarray:
    """Return a golden array."""
    raw = np.frombuffer(base64.b64decode(golden["b64"]), DTYPES[golden["dtype"]])
    return raw.reshape(golden["shape"])


def stored(arrays: dict[str, np.ndarray]) -> dict[str, StoredTensor]:
    """Return arrays as tensors of a file."""
    return {
        name: StoredTensor(file=Path("x"), type=TYPES[a.dtype], shape=a.shape)
        for name, a in arrays.items()
    }


def decoded(layout: Layout, arrays: dict[str, np.ndarray], shape: tuple[int, int]) -> Any:
    """Return what a layer decodes to, its parts checked."""
    layer = layout.layer("m", shape, stored(arrays))
    assert layer is not None
    check_parts(layer, stored(arrays), "m")
    return layer.decode({name: arrays[name] for name in layer.parts})


def values(found: Any) -> np.ndarray:
    """Return the float32 values of a decoded layer; codes must stand for the same."""
    if not isinstance(found, Grid):
        return found
    q, whole = found.quantized(), found.values()
    if q is not None:
        # The values of the scheme, in NumPy: JAX would compile a program for each shape.
        levels = np.array(found.scheme.element.values, np.float32)[np.asarray(q.codes)]
        size = found.scheme.group_size or whole.shape[1]
        spread = [_spread(side, size, whole.shape) for side in (q.zero_points, q.scales)]
        scales = spread[1] if q.tensor_scale is None else spread[1] * np.asarray(q.tensor_scale)
        np.testing.assert_array_equal((levels - spread[0]) * scales, whole)
    return whole


def _spread(side: Any, size: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return the float32 entry of each element; zeros without side data."""
    if side is None:
        return np.zeros(shape, np.float32)
    repeated = np.repeat(np.asarray(side).astype(np.float32), size, 1)[:, : shape[1]]
    return np.broadcast_to(repeated, shape)


def save(arrays: dict[str, np.ndarray], file: Path) -> None:
    """Write a safetensors file with arrays of any type."""
    header: dict[str, Any] = {}
    data = b""
    for name, a in arrays.items():
        raw = a.tobytes()
        header[name] = {
            "dtype": TYPES[a.dtype],
            "shape": list(a.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data)


def requantized(
    original: Path,
    target: Path,
    settings: dict[str, Any],
    parts: Callable[[np.ndarray], dict[str, np.ndarray]],
    more: dict[str, np.ndarray] | None = None,
) -> Path:
    """Copy a directory of a float model with its linear layers replaced by their ``parts``."""
    target.mkdir()
    tensors: dict[str, np.ndarray] = {}
    for name, weight in load_file(original / "model.safetensors").items():
        if not name.endswith("_proj.weight"):
            tensors[name] = weight
            continue
        module = name.removesuffix(".weight")
        tensors |= {f"{module}.{part}": a for part, a in parts(weight).items()}
    save(tensors | (more or {}), target / "model.safetensors")
    config = json.loads((original / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(config | {"quantization_config": settings}))
    shutil.copy(original / "tokenizer.json", target)
    return target


def int4_packed(weight: np.ndarray) -> dict[str, np.ndarray]:
    """Return the tensors of compressed-tensors for four bits in groups of 32, rounded to nearest.

    Codes are packed in one Python integer a row, so that nothing is shared with the reader.
    """
    rows, columns = weight.shape
    groups = weight.reshape(rows, -1, 32)
    scales = (np.abs(groups).max(2) / 7.5).astype(np.float16)
    codes = np.clip(np.rint(groups / scales[:, :, None].astype(np.float32)), -8, 7)
    offset = (codes.reshape(rows, columns) + 8).astype(int)
    words = [sum(int(c) << (4 * i) for i, c in enumerate(row)) for row in offset]
    raw = b"".join(word.to_bytes(columns // 2, "little") for word in words)
    return {
        "weight_packed": np.frombuffer(raw, "<i4").reshape(rows, -1),
        "weight_scale": scales,
        "weight_shape": np.array([rows, columns]),
    }


def int4_settings(**more: Any) -> dict[str, Any]:
    """Return the settings of :func:`int4_packed`; ``group`` has more of the group."""
    weights = {"num_bits": 4, "strategy": "group", "group_size": 32}
    group = {"targets": ["Linear"], "weights": weights, **more.pop("group", {})}
    return {
        "quant_method": "compressed-tensors",
        "version": "0.20.1",
        "format": "pack-quantized",
        "ignore": ["lm_head"],
        "config_groups": {"group_0": group},
        **more,
    }


def int4_values(weight: np.ndarray) -> np.ndarray:
    """Return the values of :func:`int4_packed`."""
    found = int4_packed(weight)
    scales = found["weight_scale"].astype(np.float32)[:, :, None]
    groups = weight.reshape(len(weight), -1, 32)
    return (np.clip(np.rint(groups / scales), -8, 7) * scales).reshape(weight.shape)


def _words(random: np.random.Generator, *shape: int) -> np.ndarray:
    return random.integers(-(2**31), 2**31, shape).astype(np.int32)


def random_parts(method: str, shape: tuple[int, int], seed: int = 0) -> dict[str, np.ndarray]:
    """Return random tensors of a layer in the layout of a method, in groups of 32."""
    random = np.random.default_rng(seed)
    rows, columns = shape
    groups = columns // 32
    scales = random.random((rows, groups)).astype(np.float16)
    codes = random.integers(0, 255, shape).astype(np.uint8)
    fp8 = (codes & 0x77).view(DTYPES["F8_E4M3"])
    state = {"quant_type": "nf4", "blocksize": 64, "shape": [rows, columns]}
    found = {
        "compressed-tensors": {
            "weight_packed": _words(random, rows, columns // 8),
            "weight_scale": scales,
            "weight_shape": np.array(shape),
        },
        "gptq": {
            "qweight": _words(random, columns // 8, rows),
            "qzeros": _words(random, groups, rows // 8),
            "scales": np.ascontiguousarray(scales.T),
            "g_idx": (np.arange(columns) // 32).astype(np.int32),
        },
        "awq": {
            "qweight": _words(random, columns, rows // 8),
            "qzeros": _words(random, groups, rows // 8),
            "scales": np.ascontiguousarray(scales.T),
        },
        "fp8": {"weight": fp8, "weight_scale_inv": random.random((-(-rows // 16), groups))},
        "bitsandbytes": {
            "weight": codes.reshape(-1, 1)[: rows * columns // 2],
            "weight.absmax": random.random(rows * columns // 64),
            "weight.quant_map": random.random(16),
            "weight.quant_state.bitsandbytes__nf4": np.frombuffer(
                json.dumps(state).encode(), np.uint8
            ),
        },
        "modelopt": {
            "weight": codes[:, : columns // 2],
            "weight_scale": fp8[:, : columns // 16],
            "weight_scale_2": np.ones(1),
            "input_scale": np.ones(1),
        },
        "mlx": {
            "weight": _words(random, rows, columns // 8).view(np.uint32),
            "scales": scales,
            "biases": scales,
        },
        "bitnet": {"weight": codes[: rows // 4] & 0b01010101, "weight_scale": np.ones(1)},
        "hqq": {
            "W_q": codes.reshape(-1, 32)[: rows * groups // 2],
            "scale": scales.reshape(-1, 1),
            "zero": scales.reshape(-1, 1),
        },
        "aqlm": {
            "codes": codes.view(np.int8)[:, : columns // 8, None],
            "codebooks": random.random((1, 256, 1, 8)).astype(np.float16),
            "scales": scales[:, :1].reshape(-1, 1, 1, 1),
        },
        "gemma": {"weight": codes.view(np.int8), "weight_scale": random.random((rows, 1))},
    }[method]
    single = {np.dtype(np.float64): np.float32}
    return {n: np.ascontiguousarray(a, single.get(a.dtype, a.dtype)) for n, a in found.items()}


#: Settings of :func:`random_parts`.
SETTINGS: dict[str, dict[str, Any]] = {
    "compressed-tensors": int4_settings(),
    "gptq": {"bits": 4, "group_size": 32, "sym": False, "dynamic": {}},
    "awq": {"bits": 4, "group_size": 32, "zero_point": True, "version": "gemm"},
    "fp8": {"weight_block_size": [16, 32], "activation_scheme": "dynamic", "fmt": "e4m3"},
    "bitsandbytes": {"load_in_4bit": True},
    "modelopt": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8"},
    "mlx": {"bits": 4, "group_size": 32, "mode": "affine"},
    "bitnet": {"linear_class": "bitlinear"},
    "hqq": {"nbits": 4, "group_size": 32, "axis": 1},
    "aqlm": {"num_codebooks": 1, "nbits_per_codebook": 8, "in_group_size": 8},
    "gemma": {},
}
