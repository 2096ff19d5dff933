"""The shape and the mathematics of a decoder-only language model, as data."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeConfig:
    """Rotary position embedding in the half-split convention of Hugging Face.

    ``dim`` is how many leading values of each head rotate (partial rotation below the head size).
    ``factors`` divides each of the ``dim / 2`` base frequencies (llama3, linear and longrope
    scaling all reduce to that); ``attention_factor`` multiplies both cosine and sine.

    Source: RoFormer (arXiv 2104.09864), section 3.4.
    """

    dim: int
    theta: float = 10000.0
    factors: tuple[float, ...] | None = None
    attention_factor: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Everything the forward pass needs to know about a model, and nothing else.

    A field that a family does not use keeps its default, which switches the part off.
    """

    family: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    max_positions: int
    norm: Literal["rms", "layer"] = "rms"
    norm_eps: float = 1e-5
    #: Gemma stores a norm's weight as its difference from one.
    norm_weight_offset: float = 0.0
    #: Gemma-2 also normalises what attention and MLP return, before the residual addition.
    post_norms: bool = False
    #: Phi-2: attention and MLP both read the same normalised input.
    parallel_block: bool = False
    rope: RopeConfig | None = None
    #: Learned positions (GPT-2, OPT); the row of position 0 in the table (2 in OPT).
    learned_positions: bool = False
    position_offset: int = 0
    activation: Literal["silu", "gelu", "gelu_tanh", "relu"] = "silu"
    gated_mlp: bool = True
    qkv_bias: bool = False
    attention_output_bias: bool = False
    mlp_bias: bool = False
    #: Qwen3: RMSNorm over each head of q and k, before the rotation.
    qk_norm: bool = False
    #: Multiplies q.k; ``1 / sqrt(head_dim)`` unless the family says otherwise.
    attention_scale: float | None = None
    attention_softcap: float | None = None
    final_softcap: float | None = None
    #: Tokens that a query sees, itself included; ``None`` sees all. ``windowed_layers`` says which
    #: layers it holds for (empty: all).
    sliding_window: int | None = None
    windowed_layers: tuple[bool, ...] = ()
    tie_embeddings: bool = True
    head_bias: bool = False
    #: Multiplies the token embedding (Gemma: the square root of the hidden size).
    embedding_scale: float = 1.0

    @property
    def score_scale(self) -> float:
        """Factor on the dot product of a query and a key."""
        return self.attention_scale or 1.0 / math.sqrt(self.head_dim)
