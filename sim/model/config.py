"""The shape and the mathematics of a decoder-only language model, as data."""

import math
from dataclasses import dataclass
from typing import Literal

from sim.model.online import Online
from sim.model.yarn import Yarn

Activation = Literal["silu", "gelu", "gelu_tanh", "relu"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeConfig:
    """Rotary position embedding in the half-split convention of Hugging Face.

    ``dim`` is how many leading values of each head rotate (partial rotation below the head size).
    ``factors`` divides each of the ``dim / 2`` base frequencies (llama3, linear and longrope
    scaling all reduce to that); ``attention_factor`` multiplies both cosine and sine.
    ``long_factors`` takes the place of ``factors`` in a window of more than
    ``original_max_positions`` tokens (longrope). ``yarn`` gives the divisors of YaRN; it excludes
    ``factors``.

    Sources: RoFormer (arXiv 2104.09864), section 3.4; LongRoPE (arXiv 2402.13753).
    """

    dim: int
    theta: float = 10000.0
    factors: tuple[float, ...] | None = None
    attention_factor: float = 1.0
    long_factors: tuple[float, ...] | None = None
    original_max_positions: int | None = None
    yarn: Yarn | None = None

    def __post_init__(self) -> None:
        if self.dim < 2 or self.dim % 2:
            raise ValueError(f"rotary dimension must be even and at least 2, not {self.dim}")
        for factors in (self.factors, self.long_factors):
            if factors is not None and len(factors) != self.dim // 2:
                raise ValueError(
                    f"{len(factors)} rotary frequency factors given, but {self.dim // 2} "
                    f"frequencies belong to {self.dim} rotating values of a head"
                )

        if self.yarn is not None and (self.factors or self.long_factors):
            raise ValueError("YaRN excludes other divisors of rotary frequencies")
        if self.yarn is not None and self.theta <= 1:
            raise ValueError(f"YaRN needs a rotary base greater than 1, not {self.theta}")

    def factors_for(self, tokens: int) -> tuple[float, ...] | None:
        """Return the frequency divisors of a window of ``tokens`` tokens."""
        limit = self.original_max_positions
        if self.long_factors is not None and limit is not None and tokens > limit:
            return self.long_factors
        if self.yarn is not None:
            return self.yarn.divisors(self.dim, self.theta)
        return self.factors


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Everything the forward pass needs to know about a model, and nothing else.

    A field that a family does not use keeps its default, which switches the part off.

    Invariants: ``heads`` is a multiple of ``kv_heads``; no more of a head rotates than it has;
    ``windowed_layers`` is empty or has one entry a layer; positions are rotary or learned.
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
    #: Added to the stored weights of norms (Gemma: 1).
    norm_weight_offset: float = 0.0
    #: Norms on the outputs of attention and MLP, before the residual addition (Gemma-2).
    post_norms: bool = False
    #: Norms before attention and MLP; ``False``: after each residual addition (OPT-350m).
    norm_first: bool = True
    final_norm: bool = True
    #: Whether attention and MLP share one normalised input (Phi-2).
    parallel_block: bool = False
    rope: RopeConfig | None = None
    #: Learned positions (GPT-2, OPT), and the row of position 0 in their table (2 in OPT).
    learned_positions: bool = False
    position_offset: int = 0
    activation: Activation = "silu"
    gated_mlp: bool = True
    qkv_bias: bool = False
    attention_output_bias: bool = False
    mlp_bias: bool = False
    #: RMSNorm over each head of q and k, before the rotation (Qwen3).
    qk_norm: bool = False
    #: Factor on q.k; ``None``: ``1 / sqrt(head_dim)``.
    attention_scale: float | None = None
    attention_softcap: float | None = None
    final_softcap: float | None = None
    #: Tokens that a query sees, itself included; ``None`` sees all. ``windowed_layers`` says which
    #: layers it holds for (empty: all).
    sliding_window: int | None = None
    windowed_layers: tuple[bool, ...] = ()
    tie_embeddings: bool = True
    head_bias: bool = False
    #: Factor on the token embedding (Gemma: the square root of the hidden size).
    embedding_scale: float = 1.0
    #: Hadamard transforms of activations at run time; ``None``: there are none.
    online: Online | None = None

    def __post_init__(self) -> None:
        if self.heads % self.kv_heads:
            raise ValueError(
                f"{self.heads} query heads can't share {self.kv_heads} key/value heads evenly"
            )
        if self.rope is not None and self.rope.dim > self.head_dim:
            raise ValueError(
                f"{self.rope.dim} values of a head rotate, but it has only {self.head_dim}"
            )
        if len(self.windowed_layers) not in (0, self.layers):
            raise ValueError(
                f"windowed_layers has {len(self.windowed_layers)} entries for {self.layers} layers"
            )
        if (self.rope is not None) == self.learned_positions:
            raise ValueError("positions must be either rotary or learned")
        if self.online is not None:
            self.online.check(self)

    @property
    def text(self) -> str:
        """The configuration as text, from which hashes of models are made.

        YaRN counts only where it is used, so that results stored before it was a field are found.
        """
        return repr(self).replace(", yarn=None", "")

    @property
    def score_scale(self) -> float:
        """Factor on the dot product of a query and a key."""
        if self.attention_scale is not None:
            return self.attention_scale
        return 1.0 / math.sqrt(self.head_dim)

    @property
    def windows(self) -> tuple[int | None, ...]:
        """Tokens that a query of each layer sees, itself included; ``None`` sees all."""
        windowed = self.windowed_layers or (True,) * self.layers
        return tuple(self.sliding_window if w else None for w in windowed)
