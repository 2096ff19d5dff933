"""A model whose weights are rotated so that its float outputs stay the same.

Rotations (names of SpinQuant, arXiv:2405.16406; QuaRot is arXiv:2404.00456):

- R1, of the residual stream: embedding, every matrix that reads or writes the stream, and the head.
  The weights of RMSNorms are folded into the matrices that follow, since a norm commutes with a
  rotation only if its weights are equal. Tied embeddings become two matrices, because the head
  takes the weights of the last norm.
- R2, of each value head: rows of v and columns of o.
- R4, R3 and the rotation over heads: Hadamard transforms that the model computes online (see
  :mod:`sim.model.online`), with columns of ``down`` and of ``o`` transformed to match.

A tensor is transformed in float64 as it is read, and rounded to float32 once.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64

from numerics.solvers.rotation import Hadamard, Rotation
from sim.errors import UserError
from sim.model.config import ModelConfig
from sim.model.online import Online
from sim.model.tensors import tensor_shapes
from sim.sources.source import ModelSource, Tensor
from sim.sources.tokenizer import Tokenizer

#: Rows transformed at a time, so that temporary arrays stay small beside the tensor.
CHUNK = 2048
EMBEDDING, HEAD = "embed_tokens", "lm_head"
#: The norm whose output a linear layer of a block reads.
NORMS = {
    **{f"self_attn.{x}_proj": "attn_norm" for x in "qkv"},
    **{f"mlp.{x}_proj": "mlp_norm" for x in ("gate", "up")},
}
V_PROJ, O_PROJ, DOWN_PROJ = "self_attn.v_proj", "self_attn.o_proj", "mlp.down_proj"
#: Linear layers whose outputs are added to the residual stream.
WRITERS = (O_PROJ, DOWN_PROJ)

Matrix = Float64[np.ndarray, "out in"]


@dataclass(frozen=True, kw_only=True, eq=False)
class RotatedSource:
    """A source with rotated weights; see :class:`sim.sources.source.ModelSource`."""

    source: ModelSource
    #: R1, of rows of ``hidden_size`` values.
    residual: Rotation | None = None
    #: R2 of each layer, of rows of ``kv_heads * head_dim`` values; empty: none.
    values: tuple[Rotation, ...] = ()
    #: Online transforms that the model gets.
    online: Online | None = None

    def __post_init__(self) -> None:
        _ = self.config  # raises the errors

    @property
    def name(self) -> str:
        """Name in tables and reports."""
        return self.source.name

    @cached_property
    def config(self) -> ModelConfig:
        """Shape and mathematics of the rotated model."""
        residual = self.residual is not None
        return rotated_config(self.source.config, residual=residual, online=self.online)

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes of the source."""
        return self.source.notes

    @property
    def source_types(self) -> Mapping[str, int]:
        """Number of stored tensors of each storage type."""
        return self.source.source_types

    @property
    def content_hash(self) -> str:
        """SHA-256 of the source; rotations belong to a recipe."""
        return self.source.content_hash

    def read(self, name: str) -> Tensor:
        """Return the canonical tensor ``name``, rotated."""
        prefix, member, kind = _parts(name)
        if self.residual is not None and kind == "weight" and _is_folded(member):
            shape = tensor_shapes(self.config)[name]
            return np.full(shape, 1 - self.config.norm_weight_offset, np.float32)
        is_tied = member == HEAD and kind == "weight" and self.source.config.tie_embeddings
        stored = f"{EMBEDDING}.weight" if is_tied else name
        tensor = self.source.read(stored).astype(np.float64)
        if tensor.ndim == 2:
            self._rotate_inputs(tensor, prefix, member)
        self._rotate_outputs(tensor, prefix, member)
        return np.ascontiguousarray(tensor, np.float32)

    def has_grid(self, name: str) -> bool:
        """Return ``False``: rotated values are not on a grid."""
        del name
        return False

    def grid_step(self, name: str) -> Tensor:
        """Refuse: rotated values are not on a grid."""
        raise UserError(f"tensor {name} is rotated, so it has no grid; dither the model before")

    def tokenizer(self) -> Tokenizer:
        """Return the model's own tokenizer."""
        return self.source.tokenizer()

    def _rotate_inputs(self, weight: Matrix, prefix: str, member: str) -> None:
        """Transform the columns of a matrix in place."""
        if self.residual is not None and (norm := self._norm_before(prefix, member)):
            weight *= self._norm_weight(norm)
        if self.residual is not None and (member in NORMS or member in (EMBEDDING, HEAD)):
            _in_place(weight, self.residual.apply)
        if member == O_PROJ and self.values:
            _in_place(weight, self._over_value_heads(self.values[_layer(prefix)]))
        online = self.online or Online()
        if member == O_PROJ and online.o is not None:
            _in_place(weight, self._over_heads(online.o))
        if member == O_PROJ and online.o_values is not None:
            _in_place(weight, Hadamard(size=online.o_values).apply)
        if member == DOWN_PROJ and online.down is not None:
            _in_place(weight, Hadamard(size=online.down).apply)

    def _rotate_outputs(self, tensor: Float64[np.ndarray, "..."], prefix: str, member: str) -> None:
        """Transform the rows of a matrix, or a bias, in place."""
        columns = tensor[None] if tensor.ndim == 1 else tensor.T
        if self.residual is not None and member in WRITERS:
            _in_place(columns, self.residual.apply)
        if self.values and member == V_PROJ:
            _in_place(columns, self.values[_layer(prefix)].apply)

    def _norm_before(self, prefix: str, member: str) -> str | None:
        """Return the norm to fold into a matrix."""
        if member == HEAD:
            return "final_norm" if self.config.final_norm else None
        if member not in NORMS:
            return None
        return prefix + ("attn_norm" if self.config.parallel_block else NORMS[member])

    def _norm_weight(self, norm: str) -> Float64[np.ndarray, " d"]:
        stored = self.source.read(f"{norm}.weight").astype(np.float64)
        return stored + self.config.norm_weight_offset

    def _over_value_heads(self, rotation: Rotation) -> Callable[[Matrix], Matrix]:
        """Return the rotation of columns of o: query heads turn as their value head does."""
        kv_heads, size = self.config.kv_heads, self.config.head_dim
        group = self.config.heads // kv_heads

        def apply(rows: Matrix) -> Matrix:
            grouped = rows.reshape(-1, kv_heads, group, size).swapaxes(1, 2)
            turned = rotation.apply(grouped.reshape(-1, kv_heads * size))
            return turned.reshape(grouped.shape).swapaxes(1, 2).reshape(rows.shape)

        return apply

    def _over_heads(self, block: int) -> Callable[[Matrix], Matrix]:
        """Return the transform of columns of o that mixes heads value by value."""
        heads, size = self.config.heads, self.config.head_dim

        def apply(rows: Matrix) -> Matrix:
            apart = rows.reshape(-1, heads, size).swapaxes(1, 2)
            return Hadamard(size=block).apply(apart).swapaxes(1, 2).reshape(rows.shape)

        return apply


def rotated_config(config: ModelConfig, *, residual: bool, online: Online | None) -> ModelConfig:
    """Return the configuration of a rotated model: untied by R1, with online transforms.

    Raises
    ------
    ValueError
        The model has online transforms already, or its residual stream can't be rotated.
    """
    if config.online is not None:
        raise ValueError("the model is rotated already, with online transforms; take its original")
    if not residual:
        return dataclasses.replace(config, online=online)
    reason = None
    if config.norm != "rms":
        reason = "normalise with LayerNorm, whose mean subtraction does not commute with a rotation"
    elif config.post_norms:
        reason = "multiply by the weights of a norm before the residual addition"
    if reason is not None:
        raise ValueError(
            f"the residual stream of {config.family} models can't be rotated (r1): they {reason}; "
            "use r1=false"
        )
    return dataclasses.replace(config, online=online, tie_embeddings=False)


def _in_place(rows: Matrix, apply: Callable[[Matrix], Matrix]) -> None:
    for start in range(0, len(rows), CHUNK):
        rows[start : start + CHUNK] = apply(rows[start : start + CHUNK])


def _is_folded(member: str) -> bool:
    return member in ("attn_norm", "mlp_norm", "final_norm")


def _parts(name: str) -> tuple[str, str, str]:
    """Return ``layers.3.``, ``mlp.up_proj`` and ``weight`` of ``layers.3.mlp.up_proj.weight``."""
    match = re.fullmatch(r"(layers\.\d+\.)?(.+)\.(weight|bias)", name)
    assert match is not None
    return match[1] or "", match[2], match[3]


def _layer(prefix: str) -> int:
    return int(prefix.split(".")[1])
