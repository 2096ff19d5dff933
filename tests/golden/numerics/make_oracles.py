"""Freeze what torchao, compressed-tensors, bitsandbytes and modelopt make of the same tensors.

Needs the extra ``oracles``; made with torch 2.13 (CPU), torchao 0.18.0, compressed-tensors 0.20.0,
bitsandbytes 0.50.2 and nvidia-modelopt 0.47.0. Run it from this folder; it writes ``oracles.npz``.
"""

from pathlib import Path

import numpy as np
import torch
from bitsandbytes import functional as bnb
from compressed_tensors.quantization import QuantizationArgs, QuantizationStrategy
from compressed_tensors.quantization.lifecycle.forward import dequantize, quantize
from compressed_tensors.quantization.utils import calculate_qparams, generate_gparam
from modelopt.torch.quantization.qtensor import MXFP4QTensor, NVFP4QTensor
from torchao.prototype.mx_formats.kernels import unpack_uint4
from torchao.prototype.mx_formats.nvfp4_tensor import nvfp4_quantize, per_tensor_amax_to_scale

SHAPE = (8, 128)
INT_GROUP = 32
BNB_BLOCK = 64


def tensors() -> dict[str, np.ndarray]:
    """Normal, of bfloat16 numbers, with heavy tails, with ties, with zeros and their signs."""
    rng = np.random.default_rng(20261123)
    normal = rng.standard_normal(SHAPE).astype(np.float32)
    blocks = 2.0 ** -rng.integers(0, 17, (SHAPE[0], SHAPE[1] // 16))
    ties = rng.integers(-24, 25, SHAPE) / 4
    ties[:, ::16] = 6.0
    zeros = np.where(rng.random(SHAPE) < 0.5, -0.0, normal)
    zeros[:4] = 0.0
    zeros[4:, 32:64] = -0.0
    tiny = np.where(rng.random(SHAPE) < 0.5, -1e-7, normal)
    return {
        "normal": normal,
        "bf16": bfloat16_ties(),
        "tails": (normal * blocks.repeat(16, axis=1)).astype(np.float32),
        "ties": ties.astype(np.float32),
        "zeros": zeros.astype(np.float32),
        "tiny": tiny.astype(np.float32),
    }


def bfloat16_ties() -> np.ndarray:
    """Rows of bfloat16 numbers with the most values on a tie of NVFP4, or a rounding beside it.

    There it shows whether a scale or its reciprocal is what is stored. The largest row comes first.
    """
    bits = np.random.default_rng(0).standard_normal((1024, SHAPE[1]), np.float32).view(np.uint32)
    x = torch.from_numpy((bits & np.uint32(0xFFFF0000)).view(np.float32))
    top = x.abs().amax() / 2688
    blocks = x.abs().unflatten(-1, (-1, 16))
    scales = (blocks.amax(-1) / 6 / top).to(torch.float8_e4m3fn).double()
    ratios = blocks.double() / (scales * top.double())[..., None]
    ties = torch.tensor([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0], dtype=torch.float64)
    is_tie = ((ratios[..., None] - ties).abs() < 1e-6).any(-1).flatten(1).sum(-1)
    rows = is_tie.argsort(descending=True)[: SHAPE[0] - 1]
    return torch.cat([x[x.abs().amax(-1).argmax()][None], x[rows]]).numpy()


def compressed_int(x: torch.Tensor, bits: int, symmetric: bool) -> dict[str, np.ndarray]:
    """Integers of compressed-tensors in groups of 32."""
    args = QuantizationArgs(
        num_bits=bits,
        symmetric=symmetric,
        strategy=QuantizationStrategy.GROUP,
        group_size=INT_GROUP,
        zp_dtype=torch.int8,
    )
    groups = x.unflatten(-1, (-1, INT_GROUP))
    scale, zero = calculate_qparams(groups.amin(-1), groups.amax(-1), args)
    codes = quantize(x, scale, zero, args, dtype=torch.int8)
    values = dequantize(codes, scale, zero, args)
    return {"codes": codes, "scales": scale, "zero_points": zero, "values": values}


def compressed_nvfp4(x: torch.Tensor) -> dict[str, np.ndarray]:
    """NVFP4 of compressed-tensors; codes as E2M1 values, which keep the sign of zero."""
    args = QuantizationArgs(
        num_bits=4,
        type="float",
        symmetric=True,
        strategy=QuantizationStrategy.TENSOR_GROUP,
        group_size=16,
        scale_dtype=torch.float8_e4m3fn,
        zp_dtype=torch.float8_e4m3fn,
    )
    top = generate_gparam(x.amin(), x.amax())
    groups = x.unflatten(-1, (-1, 16))
    scale, _ = calculate_qparams(groups.amin(-1), groups.amax(-1), args, global_scale=top)
    elements = quantize(x, scale, None, args, global_scale=top)
    values = dequantize(elements, scale, None, args, global_scale=top)
    scales = scale.to(torch.float8_e4m3fn).view(torch.uint8)
    return {"elements": elements, "scales": scales, "top": top, "values": values}


def torchao_nvfp4(x: torch.Tensor) -> dict[str, np.ndarray]:
    """NVFP4 of torchao."""
    top = per_tensor_amax_to_scale(x.abs().amax())
    scales, packed = nvfp4_quantize(x, per_tensor_scale=top)
    codes = unpack_uint4(packed.view(torch.uint8))
    return {"codes": codes, "scales": scales.view(torch.uint8), "top": top}


def modelopt_nvfp4(x: torch.Tensor) -> dict[str, np.ndarray]:
    """NVFP4 of modelopt."""
    q, scales, top = NVFP4QTensor.quantize(x, 16, try_tensorrt=False)
    values = q.dequantize(scale=scales, double_scale=top, block_sizes={-1: 16})
    codes = low_first(q._quantized_data)
    return {"codes": codes, "scales": scales.view(torch.uint8), "top": top, "values": values}


def modelopt_mxfp4(x: torch.Tensor) -> dict[str, np.ndarray]:
    """MXFP4 of modelopt, which rounds and chooses scales in its own way."""
    q, scales = MXFP4QTensor.quantize(x, 32)
    return {"codes": low_first(q._quantized_data), "scales": scales}


def low_first(packed: torch.Tensor) -> torch.Tensor:
    """Return the codes of bytes that hold two, the first in the low half."""
    return torch.stack([packed & 15, packed >> 4], dim=-1).flatten(-2)


def bnb_4bit(x: torch.Tensor, kind: str) -> dict[str, np.ndarray]:
    """NF4 or FP4 of bitsandbytes in blocks of 64, scales in float32."""
    packed, state = bnb.quantize_4bit(x, blocksize=BNB_BLOCK, quant_type=kind)
    codes = torch.stack([packed >> 4, packed & 15], dim=-1).reshape(x.shape)
    values = bnb.dequantize_4bit(packed, state)
    return {"codes": codes, "scales": state.absmax, "values": values}


def double_nf4(x: torch.Tensor) -> dict[str, np.ndarray]:
    """NF4 of bitsandbytes with quantized scales."""
    packed, state = bnb.quantize_4bit(x, quant_type="nf4", compress_statistics=True)
    codes = torch.stack([packed >> 4, packed & 15], dim=-1).reshape(x.shape)
    return {
        "codes": codes,
        "scale_codes": state.absmax,
        "scale_scales": state.state2.absmax,
        "offset": state.offset,
        "block_scales": bnb.dequantize_blockwise(state.absmax, state.state2) + state.offset,
    }


def many_scales() -> np.ndarray:
    """Rows of 320 blocks of NF4, the first of each with values next to midpoints of codes.

    There a quotient and a product with the reciprocal round to other codes.
    """
    rng = np.random.default_rng(4)
    x = rng.standard_normal((160, 128)).astype(np.float16).astype(np.float32)
    table = bnb.get_4bit_type("nf4", device="cpu").numpy()
    middles = (table[1:] + table[:-1]) / 2
    x[:, 0] = 4 + rng.random(160).astype(np.float32)
    x[:, 1:16] = x[:, :1] * middles
    return x


def main() -> None:
    """Write ``oracles.npz``."""
    arrays: dict[str, np.ndarray] = {"dynamic_map": bnb.create_dynamic_map().numpy()}
    for name, tensor in tensors().items():
        x = torch.from_numpy(tensor)
        made = {"nvfp4-ct": compressed_nvfp4(x), "nf4-dq": double_nf4(x), "x": {"x": x}}
        made["nvfp4-torchao"] = torchao_nvfp4(x)
        made["nvfp4-modelopt"], made["mxfp4-modelopt"] = modelopt_nvfp4(x), modelopt_mxfp4(x)
        made |= {kind: bnb_4bit(x, kind) for kind in ("nf4", "fp4")}
        for bits in (4, 8):
            made[f"int{bits}-ct"] = compressed_int(x, bits, symmetric=True)
            made[f"int{bits}-ct-asym"] = compressed_int(x, bits, symmetric=False)
        for scheme, fields in made.items():
            for field, array in fields.items():
                arrays[f"{name}/{scheme}/{field}"] = array.detach().numpy()
    x = torch.from_numpy(many_scales())
    for field, array in {"x": x, **double_nf4(x)}.items():
        arrays[f"many/nf4-dq/{field}"] = array.numpy()
    for kind in ("nf4", "fp4"):
        for field, array in bnb_4bit(x, kind).items():
            arrays[f"many/{kind}/{field}"] = array.numpy()
    np.savez_compressed(Path(__file__).with_name("oracles.npz"), **arrays)


if __name__ == "__main__":
    main()
