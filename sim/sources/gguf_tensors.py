"""Where the canonical tensors of a model are in a GGUF file, and their values.

Tensor names: ``gguf.constants.TENSOR_NAMES``. Differences to a Hugging Face checkpoint: rows of
q and k are reordered in the architecture ``llama``; 1 is added to the weights of Gemma's norms;
Phi's fused matrices stay fused.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import gguf
import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from sim.errors import UserError
from sim.model.config import ModelConfig
from sim.model.families import tensor_shapes
from sim.names.gguf_mix import QKV
from sim.sources.gguf_header import GgufHeader

_MODULES: Mapping[str, str] = {
    "embed_tokens": "token_embd",
    "embed_positions": "position_embd",
    "final_norm": "output_norm",
    "lm_head": "output",
    "attn_norm": "attn_norm",
    "attn_post_norm": "post_attention_norm",
    "mlp_norm": "ffn_norm",
    "mlp_post_norm": "post_ffw_norm",
    **{f"self_attn.{x}_proj": f"attn_{x}" for x in "qkv"},
    **{f"self_attn.{x}_norm": f"attn_{x}_norm" for x in "qk"},
    "self_attn.o_proj": "attn_output",
    **{f"mlp.{x}_proj": f"ffn_{x}" for x in ("gate", "up", "down")},
}

#: Modules that Phi-3 stores as one matrix, under the name of the second.
_GATE_UP = ("mlp.gate_proj", "mlp.up_proj")

#: Divisors of the rotary frequencies, which the configuration holds.
ROPE_FREQS = "rope_freqs.weight"
ROPE_LONG, ROPE_SHORT = "rope_factors_long.weight", "rope_factors_short.weight"

#: Types whose values are ``d * code + offset`` with one ``d`` a block, stored first, as float16.
GRID_TYPES = tuple(GGMLQuantizationType[t] for t in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A canonical tensor as rows ``start:stop`` of a stored one.

    The pairs that rotate together lie next to each other in rows of ``interleaved_heads`` heads,
    0 for none. ``minus`` is to be subtracted.
    """

    name: str
    start: int
    stop: int
    interleaved_heads: int = 0
    minus: float = 0.0


def find_pieces(config: ModelConfig, header: GgufHeader) -> dict[str, Piece]:
    """Return where each canonical tensor is; refuse missing, misshapen and unused ones."""
    if config.layers > len(header.tensors):
        raise UserError(
            f"{header.path} has {len(header.tensors)} tensors, too few for {config.layers} layers"
        )
    shapes = tensor_shapes(config)
    pieces = {name: _find(name, shapes, config, header) for name in shapes}
    used = {piece.name for piece in pieces.values()}
    unknown = sorted(set(header.tensors) - used - set(divisor_names(header)))
    if unknown:
        raise UserError(
            f"{header.path} has tensors that a {config.family} model does not use: "
            f"{', '.join(unknown[:3])}; the model would not compute what was trained"
        )
    for type_ in {header.tensors[name].type for name in used}:
        _check_type(type_, header)
    return pieces


def divisor_names(header: GgufHeader) -> tuple[str, ...]:
    """Return the tensors of frequency divisors that llama.cpp's loader reads: one, or two or none.

    Two are for short windows and for long ones.
    """
    architecture = header.metadata["general.architecture"]
    has_two = architecture == "phi3" or (
        architecture == "llama" and header.metadata.get("llama.rope.scaling.type") == "longrope"
    )
    names = (ROPE_SHORT, ROPE_LONG) if has_two else (ROPE_FREQS,) * (architecture == "llama")
    return names if any(name in header.tensors for name in names) else ()


def _check_type(type_: GGMLQuantizationType, header: GgufHeader) -> None:
    block_bytes = GGML_QUANT_SIZES[type_][1]
    try:
        with np.errstate(all="ignore"):
            gguf.quants.dequantize(np.zeros((1, block_bytes), np.uint8), type_)
    except NotImplementedError:
        raise UserError(
            f"{header.path} stores tensors as {type_.name}, which the gguf library can't "
            "dequantize; use a file of another type"
        ) from None


def _find(
    name: str, shapes: Mapping[str, tuple[int, ...]], config: ModelConfig, header: GgufHeader
) -> Piece:
    prefix, layer, module, kind = _parts(name)
    own = stored_name(name)
    fused, siblings = _fusion(module, config)
    joint = f"{prefix}{fused}.{kind}"
    is_fused = joint in header.tensors and (joint == own or own not in header.tensors)
    stored, members = (joint, siblings) if is_fused else (own, (module,))
    sizes = [shapes[f"{layer}{m}.{kind}"][0] for m in members]
    start = sum(sizes[: members.index(module)])
    _check_shape(stored, (sum(sizes), *shapes[name][1:]), header)
    return Piece(
        name=stored,
        start=start,
        stop=start + shapes[name][0],
        interleaved_heads=_interleaved_heads(module, config, header),
        minus=config.norm_weight_offset if name.endswith("_norm.weight") else 0.0,
    )


def stored_name(name: str) -> str:
    """Return the name of a canonical tensor that has a matrix of its own.

    Examples
    --------
    >>> stored_name("layers.3.mlp.up_proj.weight")
    'blk.3.ffn_up.weight'
    """
    prefix, _, module, kind = _parts(name)
    return f"{prefix}{_MODULES[module]}.{kind}"


def _parts(name: str) -> tuple[str, str, str, str]:
    """Split a canonical name: GGUF prefix, canonical prefix, module, weight or bias.

    Examples
    --------
    >>> _parts("layers.3.mlp.up_proj.bias")
    ('blk.3.', 'layers.3.', 'mlp.up_proj', 'bias')
    """
    module, _, kind = name.rpartition(".")
    if not module.startswith("layers."):
        return "", "", module, kind
    _, index, module = module.split(".", 2)
    return f"blk.{index}.", f"layers.{index}.", module, kind


def _fusion(module: str, config: ModelConfig) -> tuple[str, tuple[str, ...]]:
    """Return the name of the matrix that a module may share with others, and all of them."""
    if module in QKV:
        return "attn_qkv", QKV
    if module in _GATE_UP and config.family == "phi3":
        return "ffn_up", _GATE_UP
    return _MODULES[module], (module,)


def _check_shape(stored: str, shape: tuple[int, ...], header: GgufHeader) -> None:
    if stored not in header.tensors:
        raise UserError(f"{header.path} has no tensor {stored}, which its metadata calls for")
    if header.tensors[stored].shape != shape:
        raise UserError(
            f"tensor {stored} of {header.path} has shape {header.tensors[stored].shape}, but the "
            f"metadata asks for {shape}"
        )


def _interleaved_heads(module: str, config: ModelConfig, header: GgufHeader) -> int:
    """Return the heads of a matrix whose rows the converter reorders, 0 for others."""
    if header.metadata["general.architecture"] != "llama":
        return 0
    heads = {"self_attn.q_proj": config.heads, "self_attn.k_proj": config.kv_heads}
    return heads.get(module, 0)


def half_split(rows: np.ndarray, heads: int) -> np.ndarray:
    """Undo the converter's reordering: first values of all pairs of a head, then second ones.

    Examples
    --------
    >>> half_split(np.array([0, 2, 1, 3]), heads=1).tolist()
    [0, 1, 2, 3]
    """
    pairs = rows.reshape(heads, -1, 2, *rows.shape[1:])
    return pairs.swapaxes(1, 2).reshape(rows.shape)


def interleaved(rows: np.ndarray, heads: int) -> np.ndarray:
    """Reorder as the converter does: the inverse of :func:`half_split`.

    Examples
    --------
    >>> interleaved(np.array([0, 1, 2, 3]), heads=1).tolist()
    [0, 2, 1, 3]
    """
    halves = rows.reshape(heads, 2, -1, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


def read_blocks(
    header: GgufHeader, name: str, start: int = 0, stop: int | None = None
) -> np.ndarray:
    """Return the stored bytes of some rows of a tensor, shape (rows, bytes of a row)."""
    info = header.tensors[name]
    rows = info.shape[0]
    row_bytes = info.size // rows
    stop = rows if stop is None else stop
    offset = info.offset + start * row_bytes
    count = (stop - start) * row_bytes
    raw = np.fromfile(header.path, np.uint8, count, offset=offset)
    if raw.size != count:
        raise UserError(f"{header.path} was cut short while it was in use")
    return raw.reshape(stop - start, row_bytes)


def read_rows(header: GgufHeader, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Return the values of some rows of a stored tensor as float32."""
    info = header.tensors[name]
    blocks = read_blocks(header, name, start, stop)
    with np.errstate(all="ignore"):  # scales of a damaged file overflow; the caller checks values
        values: np.ndarray = gguf.quants.dequantize(blocks, info.type)
    return values.reshape(-1, *info.shape[1:])


def read_steps(header: GgufHeader, name: str, start: int, stop: int) -> np.ndarray:
    """Return the distance of neighbouring grid values at each element of some rows."""
    info = header.tensors[name]
    if info.type not in GRID_TYPES:
        raise UserError(
            f"tensor {name} of {header.path} is stored as {info.type.name}, which is not a grid of "
            f"equal steps; dithering needs {', '.join(t.name for t in GRID_TYPES)}"
        )
    block, block_bytes = GGML_QUANT_SIZES[info.type]
    blocks = read_blocks(header, name, start, stop).reshape(-1, block_bytes)
    steps = np.abs(blocks[:, :2].copy().view(np.float16).astype(np.float32))
    return np.repeat(steps, block, axis=1).reshape(-1, *info.shape[1:])
