"""Model shapes: the sizes that operators derive from, one TOML file for each model."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hw.catalog import Catalog
from hw.toml_reader import read_toml

FOLDER = Path(__file__).parents[1] / "models"
NORMS = ("rms", "layer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """A mixture of experts in place of the feed-forward network."""

    count: int
    per_token: int
    intermediate: int
    #: Total width of the experts that every token uses; 0 if there are none.
    shared_intermediate: int = 0
    #: Number of leading layers with a dense feed-forward network in place of experts.
    dense_layers: int = 0

    def __post_init__(self) -> None:
        for name in ("count", "per_token", "intermediate"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, less than 1")
        if self.per_token > self.count:
            raise ValueError(f"per_token is {self.per_token}, more than the {self.count} experts")


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentAttention:
    """Multi-head latent attention; arXiv:2405.04434, section 2.1."""

    kv_rank: int
    rope_dim: int
    nope_dim: int
    value_dim: int
    #: Rank of the query compression; None where queries come from one product.
    q_rank: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """One decoder-only transformer."""

    name: str
    title: str
    source: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    max_context: int
    #: Whether lm_head uses the weights of the embedding.
    tied: bool = False
    #: Whether the feed-forward network is gated (SwiGLU and the like).
    gated: bool = True
    #: Whether GGUF files hold q, k and v as one matrix, which has the type of v.
    fused_qkv: bool = False
    norm: str = "rms"
    #: Number of learned position vectors; 0 with rotary embeddings.
    position_vectors: int = 0
    #: Number of biases in linear layers and norms; only the number of parameters counts them.
    other_params: int = 0
    #: Tokens that a layer with sliding-window attention attends to; None for full attention.
    window: int | None = None
    #: Period of layers with full attention among layers with a window; None if all have a window.
    global_every: int | None = None
    experts: Experts | None = None
    latent: LatentAttention | None = None

    def __post_init__(self) -> None:
        sizes = ("layers", "hidden", "heads", "kv_heads", "head_dim", "vocabulary", "max_context")
        optional = [name for name in ("window", "global_every") if getattr(self, name) is not None]
        own = () if self.experts and not self.experts.dense_layers else ("intermediate",)
        for name in (*sizes, *own, *optional):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, less than 1")
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} heads can't share {self.kv_heads} kv_heads evenly")
        if self.norm not in NORMS:
            raise ValueError(f"norm is {self.norm!r}, not one of {', '.join(NORMS)}")

    @property
    def global_layers(self) -> int:
        """Number of layers with full attention."""
        if self.window is None:
            return self.layers
        return self.layers // self.global_every if self.global_every else 0

    @property
    def expert_layers(self) -> int:
        """Number of layers with a mixture of experts."""
        return self.layers - self.experts.dense_layers if self.experts else 0

    @property
    def attention_params(self) -> int:
        """Number of weights in the linear layers of one attention."""
        if self.latent is None:
            width = self.heads * self.head_dim
            return self.hidden * (2 * width + 2 * self.kv_heads * self.head_dim)
        return sum(inputs * outputs for _, inputs, outputs in latent_linears(self))

    @property
    def linear_params(self) -> int:
        """Number of weights in the linear layers of all blocks, experts and routers included."""
        wide = self.layers - self.expert_layers
        matrices = 3 if self.gated else 2
        total = self.layers * self.attention_params
        total += wide * matrices * self.hidden * self.intermediate
        if self.experts:
            e = self.experts
            width = e.count * e.intermediate + e.shared_intermediate
            total += self.expert_layers * self.hidden * (matrices * width + e.count)
        return total

    @property
    def head_params(self) -> int:
        """Number of weights of lm_head."""
        return self.hidden * self.vocabulary

    @property
    def params(self) -> int:
        """Number of parameters: linear layers, embedding, head unless tied, norms.

        >>> load_model("llama-2-7b").params
        6738415616
        """
        vectors = self.vocabulary * (1 if self.tied else 2) + self.position_vectors
        norms = (2 * self.layers + 1) * self.hidden * (2 if self.norm == "layer" else 1)
        return self.linear_params + vectors * self.hidden + norms + self.other_params

    def kv_values_per_token(self) -> int:
        """Return the numbers that the KV cache stores for one token in one layer.

        >>> load_model("llama-3-8b").kv_values_per_token()
        2048
        """
        if self.latent is not None:
            return self.latent.kv_rank + self.latent.rope_dim
        return 2 * self.kv_heads * self.head_dim


def latent_linears(shape: ModelShape) -> list[tuple[str, int, int]]:
    """Return name, inputs and outputs of the linear layers of latent attention."""
    latent = shape.latent
    assert latent is not None
    query = shape.heads * (latent.nope_dim + latent.rope_dim)
    if latent.q_rank is None:
        queries = [("q", shape.hidden, query)]
    else:
        queries = [("q_a", shape.hidden, latent.q_rank), ("q_b", latent.q_rank, query)]
    return [
        *queries,
        ("kv_a", shape.hidden, latent.kv_rank + latent.rope_dim),
        ("kv_b", latent.kv_rank, shape.heads * (latent.nope_dim + latent.value_dim)),
        ("o", shape.heads * latent.value_dim, shape.hidden),
    ]


@cache
def list_models() -> tuple[str, ...]:
    """Return the names that :func:`load_model` knows."""
    return MODELS.names()


@cache
def load_model(name: str) -> ModelShape:
    """Return a built-in model by its name."""
    return MODELS.load(name)


def read_model(path: Path) -> ModelShape:
    """Return the model that a TOML file describes, or say which line and key is wrong."""
    return read_toml(path, ModelShape, name=path.stem)


MODELS = Catalog(kind="model", folder=FOLDER, read=read_model, see="qsim models")
