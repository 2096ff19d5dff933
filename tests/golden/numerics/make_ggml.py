"""Freeze what ggml's C library makes of GGUF's block types.

Needs pywhispercpp of the extra ``oracles``, whose wheel has the library; made with 1.5.1, ggml
0.13.1. Run it from this folder; it writes ``ggml.npz``: for each block type random bytes with the
numbers that the library reads in them, and bytes that it makes of numbers.
"""

import ctypes
import importlib.metadata
from pathlib import Path

import numpy as np

#: Values and bytes of a block.
BLOCKS = {
    "q4_0": (32, 18), "q4_1": (32, 20), "q5_0": (32, 22), "q5_1": (32, 24), "q8_0": (32, 34),
    "q2_K": (256, 84), "q3_K": (256, 110), "q4_K": (256, 144), "q5_K": (256, 176),
    "q6_K": (256, 210), "iq4_nl": (32, 18), "iq4_xs": (256, 136), "tq1_0": (256, 54),
    "tq2_0": (256, 66), "mxfp4": (32, 17),
}  # fmt: skip
MADE = ("q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "tq1_0", "tq2_0", "mxfp4")
VALUES = 1024


def library() -> ctypes.CDLL:
    """Return the library that the wheel brings."""
    files = importlib.metadata.files("pywhispercpp") or []
    (path,) = [f for f in files if "libggml-base-" in f.name and "pywhispercpp.libs" in str(f)]
    return ctypes.CDLL(str(path.locate()))


def numbers() -> np.ndarray:
    """Normal, of many sizes, half way between codes, constant, and zero; finite, none subnormal."""
    rng = np.random.default_rng(20261124)
    normal = rng.standard_normal((7, 512))
    wide = normal * 2.0 ** rng.integers(-20, 20, normal.shape)
    halves = (rng.integers(-16, 16, (3, 512)) + 0.5) / 2
    halves[:, ::32] = [[-8], [16], [6]]
    small = rng.integers(-1, 2, (2, 512)) * 0.75
    rest = np.stack([np.full(512, -3.0), np.abs(normal[0]) + 5, np.zeros(512)])
    return np.concatenate([normal, wide, halves, small, rest]).astype(np.float32)


def main() -> None:
    """Write ``ggml.npz``."""
    ggml, x = library(), numbers()
    arrays = {"x": x}
    for name, (values, size) in BLOCKS.items():
        rng = np.random.default_rng(size)
        raw = rng.integers(0, 256, (VALUES // values, size), np.uint8)
        # Blocks of one byte all over, with infinite and NaN scales among them.
        strange = [0x00, 0xFF, 0x80, 0x7C] if values == 32 else [0xFF]
        raw[-len(strange) :] = np.uint8(strange)[:, None]
        found = np.empty(VALUES, np.float32)
        read = getattr(ggml, f"dequantize_row_{name}")
        read(raw.ctypes.data_as(ctypes.c_void_p), found.ctypes.data_as(ctypes.c_void_p),
             ctypes.c_int64(VALUES))  # fmt: skip
        arrays |= {f"{name}/raw": raw, f"{name}/values": found}
        if name in MADE:
            made = np.zeros((len(x), x.shape[1] // values * size), np.uint8)
            make = getattr(ggml, f"quantize_row_{name}_ref")
            make(x.ctypes.data_as(ctypes.c_void_p), made.ctypes.data_as(ctypes.c_void_p),
                 ctypes.c_int64(x.size))  # fmt: skip
            arrays[f"{name}/bytes"] = made
    np.savez_compressed(Path(__file__).with_name("ggml.npz"), **arrays)


if __name__ == "__main__":
    main()
