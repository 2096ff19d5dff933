"""Make the conformance pack; ``python -m numerics.conformance.pack`` rewrites all files."""

from pathlib import Path
from typing import get_args

import jax.numpy as jnp
import numpy as np

from numerics.conformance.inputs import block_tensors, format_inputs
from numerics.formats import FORMATS, FloatFormat, Format, Overflow
from numerics.names.catalog import SCHEMES
from numerics.schemes.scheme import Scheme
from numerics.schemes.tensor import quantize

DATA = Path(__file__).parent / "data"
#: Largest width, in bits, of a format that has a file in the pack.
MAX_BITS = 8
NAN_BITS = 0x7FC00000

Arrays = dict[str, np.ndarray]


def packed_formats() -> dict[str, Format]:
    """Return the formats in the pack."""
    return {name: fmt for name, fmt in FORMATS.items() if fmt.bits <= MAX_BITS}


def packed_schemes() -> dict[str, Scheme]:
    """Return the schemes in the pack: those whose results are defined in every bit."""
    return {name: scheme for name, scheme in SCHEMES.items() if scheme.is_exact}


#: Row length that is a multiple of every block size.
WHOLE = 256


def format_arrays(fmt: Format) -> Arrays:
    """Return inputs and codes of a format, by its scalar definition."""
    bits = format_inputs(fmt)
    numbers = [float(x) for x in bits.view(np.float32)]
    if isinstance(fmt, FloatFormat):
        codes = {
            f"codes_{policy}": np.array([fmt.encode(x, overflow=policy) for x in numbers], np.uint8)
            for policy in get_args(Overflow)
        }
    else:
        codes = {"codes": np.array([fmt.encode(x) for x in numbers], np.uint8)}
    return {"inputs": bits} | codes


def scheme_arrays(scheme: Scheme) -> Arrays:
    """Return the stored arrays and the dequantized values of each block tensor."""
    arrays: Arrays = {}
    for letter, tensor in block_tensors().items():
        q = quantize(jnp.asarray(_whole_blocks(tensor, scheme)), scheme)
        arrays |= {f"{letter}/{name}": as_bits(np.asarray(a)) for name, a in q.arrays.items()}
        arrays[f"{letter}/values"] = canonical(as_bits(np.asarray(q.dequantize())))
    return arrays


def _whole_blocks(tensor: np.ndarray, scheme: Scheme) -> np.ndarray:
    """Return the tensor, cut to :data:`WHOLE` columns for schemes that need whole blocks."""
    try:
        scheme.check_shape(tensor.shape)
    except ValueError:
        return tensor[:, :WHOLE]
    return tensor


def as_bits(array: np.ndarray) -> np.ndarray:
    """Return an array as the unsigned integers of its bits."""
    return array.view(np.dtype(f"u{array.dtype.itemsize}"))


def canonical(bits: np.ndarray) -> np.ndarray:
    """Return float32 bits with one pattern for all NaN."""
    is_nan = (bits & 0x7FFFFFFF) > 0x7F800000
    return np.where(is_nan, np.uint32(NAN_BITS), bits)


def read(path: Path) -> Arrays:
    """Return the arrays of a file of the pack."""
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def write_pack(directory: Path = DATA) -> None:
    """Write every file of the pack."""
    for part in ("formats", "schemes"):
        (directory / part).mkdir(parents=True, exist_ok=True)
    tensors = {letter: as_bits(tensor) for letter, tensor in block_tensors().items()}
    np.savez_compressed(directory / "inputs.npz", **tensors)  # type: ignore[arg-type]
    for name, fmt in packed_formats().items():
        _save(directory / "formats" / f"{name}.npz", format_arrays(fmt))
    for name, scheme in packed_schemes().items():
        _save(directory / "schemes" / f"{name}.npz", scheme_arrays(scheme))


def _save(path: Path, arrays: Arrays) -> None:
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


if __name__ == "__main__":
    write_pack()
