"""The tensors of a GGUF file: their order, and the canonical tensors that each is made of."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sim.model.config import ModelConfig
from sim.model.tensors import tensor_shapes
from sim.names.gguf_mix import FUSED_QKV, QKV
from sim.sources.gguf_tensors import interleaved, stored_name
from sim.sources.source import ModelSource

POSITIONS = "embed_positions.weight"
#: Families whose gate and up projections are one matrix, named ``ffn_up``.
FUSED_GATE_UP = ("phi3",)
#: Families of the architecture ``llama``, whose rows of q and k the converter reorders.
REORDERED = ("llama", "mistral")


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor of the file: the rows of its canonical tensors, one after the other."""

    name: str
    members: tuple[str, ...]
    shape: tuple[int, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers whose weights these are, as recipes spell them."""
        return tuple(member.removesuffix(".weight") for member in self.members)

    @property
    def is_matrix(self) -> bool:
        """Whether it can be quantized; norms, biases and learned positions are not."""
        return len(self.shape) == 2 and self.members[0] != POSITIONS


def stored_tensors(config: ModelConfig) -> list[Stored]:
    """Return the tensors of the file of a model, in canonical order."""
    shapes = tensor_shapes(config)
    parts: dict[str, list[str]] = {}
    for name in shapes:
        parts.setdefault(_joint_name(name, config), []).append(name)
    return [
        Stored(
            stored,
            tuple(members),
            (sum(shapes[m][0] for m in members), *shapes[members[0]][1:]),
        )
        for stored, members in parts.items()
    ]


def _joint_name(name: str, config: ModelConfig) -> str:
    part = name.rpartition(".")[0].split(".", 2)[-1]
    if part in QKV and config.family in FUSED_QKV:
        return stored_name(name).replace(f"attn_{part[-6]}.", "attn_qkv.")
    if part == "mlp.gate_proj" and config.family in FUSED_GATE_UP:
        return stored_name(name).replace("ffn_gate", "ffn_up")
    return stored_name(name)


def read_stored(source: ModelSource, stored: Stored) -> np.ndarray:
    """Return the values of a tensor of the file, rows in the order of llama.cpp's converter."""
    config = source.config
    values = joined({name: source.read(name) for name in stored.members}, config)
    offset = config.norm_weight_offset if stored.members[0].endswith("_norm.weight") else 0.0
    return np.ascontiguousarray(values + np.float32(offset) if offset else values)


def joined(members: Mapping[str, np.ndarray], config: ModelConfig) -> np.ndarray:
    """Return the rows of canonical tensors as one, in the order of llama.cpp's converter."""
    rows = [_ordered(values, name, config) for name, values in members.items()]
    return rows[0] if len(rows) == 1 else np.concatenate(rows)


def _ordered(rows: np.ndarray, name: str, config: ModelConfig) -> np.ndarray:
    heads = {"q_proj": config.heads, "k_proj": config.kv_heads}.get(_module(name), 0)
    if not heads or config.family not in REORDERED:
        return rows
    return interleaved(rows, heads)


def _module(name: str) -> str:
    return name.rpartition(".")[0].rpartition(".")[2]
