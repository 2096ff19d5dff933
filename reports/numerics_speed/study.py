"""How fast formats are: ``python reports/numerics_speed/study.py``. Takes about three minutes.

Every installed peer is measured; torchao and bitsandbytes come with the extra ``oracles``.
"""

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Idle threads that spin would take cores from the library measured next.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from hw.measure import cpu_name
from numerics import FORMATS, fake_quantize, parse_scheme, quantize
from numerics.arithmetic.cast import encode
from numerics.codebooks.beam import beam_search
from numerics.formats import Format

HERE = Path(__file__).parent
SHAPE, ROUNDS = (4096, 4096), 7
PACKAGES = ("qsim-codesign", "jax", "numpy", "ml_dtypes", "torch", "torchao", "bitsandbytes")
SEED = 0
DTYPES = {
    "fp4_e2m1": ml_dtypes.float4_e2m1fn,
    "fp6_e3m2": ml_dtypes.float6_e3m2fn,
    "fp8_e4m3": ml_dtypes.float8_e4m3fn,
    "fp8_e5m2": ml_dtypes.float8_e5m2,
}
TEXT = """# How fast the formats are

Million elements per second on {rows} x {columns} float32 numbers, best of {rounds} rounds; qsim and its
peers alternate within a round. `copy` is the speed relative to a plain copy between arrays of the same
types, the limit set by memory bandwidth. Casts return codes. The other rows return dequantized float32
numbers, exact in every bit, with two exceptions: e8p returns codes and scales, and the AQLM rows return
improved codes, by loops that g++ or clang++ compiles at first use. Peers: ml_dtypes through `astype`; numpy
with ml_dtypes, for the same definition; torchao and bitsandbytes, quantize and dequantize by their own
definitions; the steps of AQLM's public code, reimplemented in torch. torchao's INT4 multiplies by the
reciprocals of float32 scales, while qsim divides by FP16 scales as IEEE 754 specifies; `torch.compile`
fuses torchao's steps into one pass.

| operation | M elements/s | of copy | fastest peer | speed of each peer | speedup |
| --- | ---: | ---: | --- | ---: | ---: |
{table}

Made by `python reports/numerics_speed/study.py`, seed {seed}, on {machine} with {versions}. The
machine is shared: speeds vary by 20 % between runs, ratios within a row by less.
"""


@dataclass(kw_only=True)
class Row:
    """An operation to time, with its peers and a plain copy."""

    what: str
    run: Callable[[], Any]
    copy: Callable[[], Any] | None = None
    size: int = SHAPE[0] * SHAPE[1]
    peers: dict[str, Callable[[], Any]] = field(default_factory=dict)
    #: Number of elements that a slow peer is timed on.
    peer_size: int | None = None
    rounds: int = ROUNDS

    def line(self) -> str:
        """Time all calls in turns and return the row of the table."""
        best: dict[str, float] = {}
        calls = {"": self.run} | ({"copy": self.copy} if self.copy else {}) | self.peers
        for _ in range(self.rounds):
            for name, call in calls.items():
                started = time.perf_counter()
                jax.block_until_ready(call())
                best[name] = min(best.get(name, np.inf), time.perf_counter() - started)
        ours = self.size / best[""] / 1e6
        copied = f"{best['copy'] / best['']:.0%}" if self.copy else "-"
        theirs = {n: (self.peer_size or self.size) / best[n] / 1e6 for n in self.peers}
        fastest = max(theirs, key=lambda name: theirs[name], default="")
        others = ", ".join(f"{name} {_number(rate)}" for name, rate in theirs.items()) or "-"
        times = f"{ours / theirs[fastest]:.1f}" if theirs else "-"
        return (
            f"| {self.what} | {_number(ours)} | {copied} | {fastest or '-'} | {others} | {times} |"
        )


def _number(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def casts(x: np.ndarray) -> list[Row]:
    ours = jnp.asarray(x)
    copy = jax.jit(lambda x: (jax.lax.bitcast_convert_type(x, jnp.int32) >> 24).astype(jnp.uint8))

    def row(fmt: Format, dtype: Any) -> Row:
        return Row(
            what=f"cast to {fmt.name}",
            run=lambda: encode(fmt, ours),
            copy=lambda: copy(ours),
            peers={"ml_dtypes": lambda: x.astype(dtype)},
        )

    return [row(FORMATS[name], dtype) for name, dtype in DTYPES.items()]


def round_trips(x: np.ndarray) -> list[Row]:
    ours = jnp.asarray(x)
    copy = jax.jit(lambda x: -x)
    numpys = {
        "fp4": lambda: in_groups(x, 128, 6, lambda g: g.astype(ml_dtypes.float4_e2m1fn)),
        "int4": lambda: in_groups(x, 128, 7, lambda g: np.clip(np.rint(g), -7, 7)),
    }
    foreign = torch_peers(x)

    def row(text: str) -> Row:
        scheme = parse_scheme(text)
        peers = {"numpy": numpys[text]} if text in numpys else {}
        return Row(
            what=text,
            run=lambda: fake_quantize(ours, scheme),
            copy=lambda: copy(ours),
            peers=peers | foreign.get(text, {}),
        )

    names = ("fp4", "int4", "nvfp4", "mxfp4", "mxfp8_e4m3", "nf4", "nf4-bnb", "bitmod-fp4")
    return [row(name) for name in names]


def in_groups(x: np.ndarray, size: int, largest: int, to_codes: Callable[..., Any]) -> np.ndarray:
    groups = x.reshape(-1, size)
    scales = np.abs(groups).max(axis=1, keepdims=True) / np.float32(largest)
    scales = scales.astype(np.float16).astype(np.float32)
    return (to_codes(groups / scales).astype(np.float32) * scales).reshape(x.shape)


def torch_peers(x: np.ndarray) -> dict[str, dict[str, Callable[[], Any]]]:
    """Return calls of torchao and bitsandbytes on a tensor, where they are installed."""
    found: dict[str, dict[str, Callable[[], Any]]] = {}
    if find_spec("torchao"):
        import torch
        from torchao.prototype.mx_formats.mx_tensor import MXTensor
        from torchao.prototype.mx_formats.nvfp4_tensor import NVFP4Tensor
        from torchao.quantization import quant_primitives as affine

        data = torch.from_numpy(x)

        def mx(kind: Any) -> Callable[[], Any]:
            return lambda: MXTensor.to_mx(data, kind, 32).dequantize(torch.float32).numpy()

        def int4(data: Any) -> Any:
            size, rest = (1, 128), (torch.int8, -8, 7)
            kind = affine.MappingType.SYMMETRIC
            scales, zeros = affine.choose_qparams_affine(data, kind, size, *rest)
            codes = affine.quantize_affine(data, size, scales, zeros, *rest)
            return affine.dequantize_affine(codes, size, scales, zeros, *rest)

        compiled = torch.compile(int4)
        found["int4"] = {
            "torchao": lambda: int4(data).numpy(),
            "torchao under torch.compile": lambda: compiled(data).numpy(),
        }
        found["nvfp4"] = {
            "torchao": lambda: NVFP4Tensor.to_nvfp4(data).dequantize(torch.float32).numpy()
        }
        found["mxfp4"] = {"torchao": mx(torch.float4_e2m1fn_x2)}
        found["mxfp8_e4m3"] = {"torchao": mx(torch.float8_e4m3fn)}
    if find_spec("bitsandbytes"):
        import torch
        from bitsandbytes import functional as bnb

        tensor = torch.from_numpy(x)

        def four_bits(kind: str) -> Callable[[], Any]:
            return lambda: bnb.dequantize_4bit(*bnb.quantize_4bit(tensor, quant_type=kind)).numpy()

        found["nf4"] = found["nf4-bnb"] = {"bitsandbytes": four_bits("nf4")}
        found["fp4"] = {"bitsandbytes": four_bits("fp4")}
    return found


def codebooks(x: np.ndarray) -> list[Row]:
    part = x[:1024]
    ours, copy = jnp.asarray(part), jax.jit(lambda x: x[:, ::16].astype(jnp.uint16))
    scheme = parse_scheme("e8p")
    from numerics.codebooks import e8p

    table, few = np.float32(e8p.points()) / 4, part.reshape(-1, 8)[:256]
    halves = 0.5 * (table * table).sum(1)
    return [
        Row(
            what="e8p, nearest codes",
            size=part.size,
            peer_size=few.size,
            run=lambda: list(quantize(ours, scheme).arrays.values()),
            copy=lambda: copy(ours),
            peers={"numpy": lambda: (few @ table.T - halves).argmax(1)},
        )
    ]


def beam_pass(x: np.ndarray) -> list[Row]:
    """Return AQLM's pass over all codes of a layer of 1024 x 1024 with two codebooks of 256."""
    weights, books = x[:1024, :1024].astype(float), x[1024:1536, :8].reshape(2, 256, 8) / 2.0
    inputs = x[1536:3584, :1024].astype(float)
    random = np.random.default_rng(SEED)
    given = {
        "codebooks": books.astype(float),
        "scales": np.ones(1024),
        "hessian": inputs.T @ inputs / len(inputs),
    }
    single = {name: np.float32(array) for name, array in given.items()}
    weights32 = np.float32(weights)
    codes = random.integers(0, 256, (1024, 128, 2))
    peers: dict[str, Callable[[], Any]] = {}
    if find_spec("torch"):
        import torch

        tensors = {name: torch.from_numpy(array) for name, array in single.items()}
        start = torch.from_numpy(weights32), torch.from_numpy(codes)
        peers["AQLM's steps in torch"] = lambda: aqlm_steps(*start, **tensors).numpy()
    what = "AQLM 2x8, beam 1, one pass over 1024 x 1024"
    return [
        Row(
            what=f"{what}, float32 as in the peer",
            size=weights.size,
            peers=peers,
            rounds=3,
            run=lambda: beam_search(weights32, codes, width=1, **single),
        ),
        Row(
            what=f"{what}, float64",
            size=weights.size,
            peers=peers,
            rounds=3,
            run=lambda: beam_search(weights, codes, width=1, **given),
        ),
    ]


def aqlm_steps(weights: Any, codes: Any, *, codebooks: Any, scales: Any, hessian: Any) -> Any:
    """Repeat the steps of AQLM's public beam search for a beam of one, in its order."""
    import torch

    codes, scales, size = codes.clone(), scales[:, None], codebooks.shape[2]
    parts = [book[codes[:, :, number]] for number, book in enumerate(codebooks)]
    values = torch.stack(parts).sum(0).reshape(weights.shape) * scales
    for group in range(codes.shape[1]):
        columns = slice(group * size, (group + 1) * size)
        for number, book in enumerate(codebooks):
            part = scales * book[codes[:, group, number]]
            left = weights - values
            left[:, columns] += part
            product = left @ hessian[:, columns]
            norms = ((book @ hessian[columns, columns]) * book).sum(1)
            losses = norms * scales**2 - 2 * scales * (product @ book.T)
            best = torch.topk(losses, 1, dim=1, largest=False).indices[:, 0]
            values[:, columns] += scales * book[best] - part
            codes[:, group, number] = best
    return codes


def versions() -> str:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"no {package}")
    return ", ".join([f"Python {platform.python_version()}", *found])


def main() -> None:
    x = np.random.default_rng(SEED).standard_normal(SHAPE, np.float32)
    rows = [*casts(x), *round_trips(x), *codebooks(x), *beam_pass(x)]
    text = TEXT.format(
        rows=SHAPE[0],
        columns=SHAPE[1],
        rounds=ROUNDS,
        seed=SEED,
        versions=versions(),
        machine=f"{cpu_name()}, {jax.device_count()} device, {jax.default_backend()}",
        table="\n".join(row.line() for row in rows),
    )
    (HERE / "README.md").write_text(text, encoding="utf-8")
    print(HERE / "README.md")


if __name__ == "__main__":
    main()
