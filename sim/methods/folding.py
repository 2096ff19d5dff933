"""Places of a block that can absorb a diagonal scale, and the change of its tensors there.

The inputs of some linear layers are divided by a scale: the rows of what produces the inputs are
divided and the columns of the layers multiplied, so that the block's float outputs stay equal. A
norm produces the inputs of q, k, v and of gate and up; the values produce those of the output
projection, because attention is linear in them; up produces those of down, because the gate's
activation doesn't see it. Without a gate only ReLU passes a positive scale.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Shaped

from sim.methods.block import Block
from sim.model.config import ModelConfig
from sim.model.tensors import fused_members
from sim.sources.source import Tensor

#: Sites in the order in which transforms visit them.
SITES = ("qkv", "o", "gate_up", "down")
Channels = Float32[np.ndarray, " n"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One scale vector that a block can absorb.

    Under grouped queries the ``repeats`` query heads of a key/value head share their scales; all
    other folds have one scale per input channel.
    """

    #: Sites whose inputs are divided; two where attention and MLP share a norm.
    sites: tuple[str, ...]
    #: Tensors (weight and bias) that produce the inputs, divided by rows, without the suffix.
    producer: str
    #: Number added to the producer's stored weight (Gemma's norms: 1).
    offset: float = 0.0
    #: Query heads that share a key/value head, and the size of a head.
    repeats: int = 1
    head_dim: int = 1

    def consumers(self, config: ModelConfig) -> dict[str, str]:
        """Return the site of each linear layer whose columns are multiplied, by its name."""
        members = fused_members(config)
        return {member: site for site in self.sites for member in members[site]}

    def by_scale(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, "repeats m"]:
        """Return the values of the channels of each scale, one column for each scale."""
        heads = values.reshape(-1, self.repeats, self.head_dim)
        return heads.transpose(1, 0, 2).reshape(self.repeats, -1)

    def by_channel(self, scales: Shaped[np.ndarray, "*k m"]) -> Shaped[np.ndarray, "*k n"]:
        """Return the scale of each channel, or another number of its scale."""
        heads = scales.reshape(*scales.shape[:-1], -1, 1, self.head_dim)
        return np.repeat(heads, self.repeats, axis=-2).reshape(*scales.shape[:-1], -1)

    def apply(self, block: Block, scales: Float32[np.ndarray, " m"]) -> None:
        """Divide the inputs by ``scales``, and multiply the columns of what reads them."""
        channels = self.by_channel(scales)
        for kind in ("weight", "bias"):
            name = f"{self.producer}.{kind}"
            if name in block.tensors:
                offset = self.offset if kind == "weight" else 0.0
                block.tensors[name] = _divided(block.tensors[name], scales, offset)
        for member in self.consumers(block.config):
            weight = block.tensors[f"{member}.weight"]
            block.tensors[f"{member}.weight"] = weight * channels
        for site in self.sites:
            block.statistics[site] = block.statistics[site].scaled(channels)


def folds(config: ModelConfig) -> tuple[Fold, ...]:
    """Return every legal fold of a model's blocks, in the order of :data:`SITES`."""
    found = {fold.sites: fold for site in SITES if (fold := _folds(config)[site]) is not None}
    return tuple(found.values())


def check_site(config: ModelConfig, site: str) -> None:
    """Raise :class:`ValueError` if no scale can be folded at a site.

    Examples
    --------
    >>> from sim.model.families import config_from_hf
    >>> check_site(config_from_hf({"model_type": "gpt2"}), "down")
    Traceback (most recent call last):
    ValueError: gpt2 can't absorb scales at down: its gelu_tanh changes when its input is scaled;
    a gated MLP or ReLU would allow it
    """
    if _folds(config)[site] is None:
        raise ValueError(f"{config.family} can't absorb scales at {site}: {_reason(config, site)}")


def _folds(config: ModelConfig) -> Mapping[str, Fold | None]:
    """Return the fold of each site, ``None`` where there is none."""
    offset = config.norm_weight_offset
    group = config.heads // config.kv_heads
    values = Fold(
        sites=("o",), producer="self_attn.v_proj", repeats=group, head_dim=config.head_dim
    )
    passes = config.gated_mlp or config.activation == "relu"
    up = Fold(sites=("down",), producer="mlp.up_proj") if passes else None
    attention: Fold | None
    mlp: Fold | None
    if not config.norm_first:
        attention = mlp = None
    elif config.parallel_block:
        attention = mlp = Fold(sites=("qkv", "gate_up"), producer="attn_norm", offset=offset)
    else:
        attention = Fold(sites=("qkv",), producer="attn_norm", offset=offset)
        mlp = Fold(sites=("gate_up",), producer="mlp_norm", offset=offset)
    online = config.online
    mixes_o = online is not None and online.o is not None
    mixes_down = online is not None and online.down is not None
    return {
        "qkv": attention,
        "o": None if mixes_o else values,
        "gate_up": mlp,
        "down": None if mixes_down else up,
    }


def _reason(config: ModelConfig, site: str) -> str:
    if site in ("o", "down") and config.online is not None and getattr(config.online, site):
        return "an online Hadamard transform mixes its channels"
    if site == "down":
        return (
            f"its {config.activation} changes when its input is scaled; "
            "a gated MLP or ReLU would allow it"
        )
    return "its norms follow the residual addition, so their outputs are the residual stream too"


def _divided(tensor: Tensor, scales: Float32[np.ndarray, " m"], offset: float) -> Tensor:
    """Return rows divided by their scale; an offset is part of the value but isn't stored."""
    by_row = scales.astype(np.float64).reshape(-1, *(1,) * (tensor.ndim - 1))
    divided: Tensor = ((tensor + offset) / by_row - offset).astype(np.float32)
    return divided
