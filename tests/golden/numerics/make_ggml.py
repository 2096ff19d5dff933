"""Freeze what the C library of ggml makes of the same rows and the same bytes.

Needs pywhispercpp 1.5.1, whose wheel has ggml 0.13.1, and gguf 0.19 for the sizes of blocks. Run it
from this folder; it writes ``ggml.npz``.
"""

import ctypes
from importlib import metadata
from pathlib import Path

import gguf
import numpy as np

VERSION = b"0.13.1"
WIDTH = 256
#: Interval between the blocks whose values are stored.
STEP = 5
TYPES = (
    "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "MXFP4", "TQ1_0", "TQ2_0",
    "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS",
)  # fmt: skip
#: Largest magnitudes under which the scale of some type is a power of two.
TOPS = (-8.0, -16.0, 127.0, 1.0, 6.0)
#: Largest codes of the types that have a least value.
RANGES = (15, 31)


def rows() -> np.ndarray:
    """Normal, spread, on and between codes, just below powers of two, zeros, one sign."""
    rng = np.random.default_rng(20261124)
    normal = rng.standard_normal((4, WIDTH))
    halves = [rng.integers(-4 * abs(t), 4 * abs(t), WIDTH) / 4 for t in TOPS]
    for top, row in zip(TOPS, halves, strict=True):
        row[::32] = top
    for last in RANGES:
        row = rng.integers(0, last, WIDTH) + 0.5
        row[::32], row[1::32] = 0, last
        halves.append(row)
    exponents = np.repeat([-60, -9, -1, 1, 2, 3, 5, 40], 4).reshape(4, 8, 1)
    below = np.nextafter(np.float32(2.0) ** exponents.astype(np.float32), np.float32(0))
    powers = rng.uniform(-1, 1, (4, 8, 32)) * below
    powers[..., 7] = below[..., 0]
    found = [
        normal,
        normal * 2.0 ** rng.integers(-20, 20, (4, WIDTH)),
        np.stack(halves),
        powers.reshape(4, WIDTH),
        np.where(np.arange(WIDTH) % 96 < 64, 0.0, normal[:1]),
        np.abs(normal[:1]) + 5,
        np.zeros((1, WIDTH)),
        normal[:2] * [[1e6], [1e-7]],
    ]
    return np.concatenate(found).astype(np.float32)


def load() -> ctypes.CDLL:
    """Return the library of the wheel, whose version must be the one above."""
    files = metadata.files("pywhispercpp") or []
    path = next(f for f in files if f.parent.name == "pywhispercpp.libs" and "base" in f.name)
    library = ctypes.CDLL(str(path.locate()))
    library.ggml_version.restype = ctypes.c_char_p
    assert library.ggml_version() == VERSION
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    return library


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    """Return where an array lies."""
    return array.ctypes.data_as(ctypes.c_void_p)


def quantize(library: ctypes.CDLL, name: str, x: np.ndarray) -> np.ndarray:
    """Return the blocks of rows."""
    kind = gguf.GGMLQuantizationType[name]
    values, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = np.zeros((x.size // values, size), np.uint8)
    library.ggml_quantize_init(int(kind))
    written = library.ggml_quantize_chunk(
        int(kind),
        pointer(x),
        pointer(blocks),
        ctypes.c_int64(0),
        ctypes.c_int64(len(x)),
        ctypes.c_int64(x.shape[1]),
        None,
    )
    assert written == blocks.nbytes
    return blocks


def dequantize(library: ctypes.CDLL, name: str, blocks: np.ndarray) -> np.ndarray:
    """Return the values of blocks."""
    values = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]][0]
    found = np.zeros((len(blocks), values), np.float32)
    decode = getattr(library, f"dequantize_row_{name.lower().replace('_k', '_K')}")
    decode(pointer(blocks), pointer(found), ctypes.c_int64(found.size))
    return found


def main() -> None:
    """Write ``ggml.npz``."""
    library, x = load(), rows()
    rng = np.random.default_rng(7)
    arrays = {"x": x}
    for name in TYPES:
        blocks = quantize(library, name, x)
        random = rng.integers(0, 256, (16, blocks.shape[1]), np.uint8)
        arrays[f"{name}/blocks"] = blocks
        arrays[f"{name}/random"] = random
        arrays[f"{name}/values"] = dequantize(library, name, np.ascontiguousarray(blocks[::STEP]))
        arrays[f"{name}/random_values"] = dequantize(library, name, random)
    np.savez_compressed(Path(__file__).with_name("ggml.npz"), **arrays)


if __name__ == "__main__":
    main()
