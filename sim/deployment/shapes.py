"""Sizes of models: the list of those built in, and those of a model that can be swept."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from roofline.model.model_shape import ModelShape, list_models, load_model
from sim.model.config import ModelConfig, RopeConfig
from sim.names.gguf_mix import FUSED_QKV
from sim.tables import FittingTable, numbers, words

#: Beginnings of names of built-in models with norms before the residual addition.
POST_NORMS = ("gemma-2-", "gemma-3-")


def shapes_table() -> FittingTable:
    """Return the models whose sizes are built in, one a line."""
    columns = (
        *words("sizes"),
        *numbers("parameters", "layers", "hidden", "heads", "KV heads", "vocabulary", "context"),
    )
    rows = [(name, *_cells(load_model(name))) for name in list_models()]
    return FittingTable(columns, rows, see="'qsim models show NAME' has all of one.")


def _cells(shape: ModelShape) -> tuple[str, ...]:
    sizes = (
        shape.layers,
        shape.hidden,
        shape.heads,
        shape.kv_heads,
        shape.vocabulary,
        shape.max_context,
    )
    return (f"{shape.params / 1e9:.4g} B", *map(str, sizes))


def shape_of(config: ModelConfig, *, name: str, title: str) -> ModelShape:
    """Return the sizes of a model that can be swept, for predictions.

    Raises
    ------
    ValueError
        Its layers have different windows, which sizes cannot say.
    """
    windowed = config.windowed_layers
    if config.sliding_window is not None and windowed and not all(windowed):
        raise ValueError(
            f"{name} has windows in some layers only; write its sizes into a .toml file"
        )
    return ModelShape(
        name=name,
        title=title,
        source="the configuration of the model itself",
        layers=config.layers,
        hidden=config.hidden_size,
        heads=config.heads,
        kv_heads=config.kv_heads,
        head_dim=config.head_dim,
        intermediate=config.intermediate_size,
        vocabulary=config.vocab_size,
        max_context=config.max_positions,
        tied=config.tie_embeddings,
        gated=config.gated_mlp,
        fused_qkv=config.family in FUSED_QKV,
        norm=config.norm,
        position_vectors=config.max_positions if config.learned_positions else 0,
        window=config.sliding_window,
    )


def config_of(shape: ModelShape) -> ModelConfig:
    """Return a configuration with the sizes of a dense model, for the checks of methods.

    Fields that sizes do not determine, such as biases, keep their defaults.
    """
    is_learned = shape.position_vectors > 0
    return ModelConfig(
        family=shape.name,
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        layers=shape.layers,
        heads=shape.heads,
        kv_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        max_positions=shape.max_context,
        norm="layer" if shape.norm == "layer" else "rms",
        post_norms=shape.name.startswith(POST_NORMS),
        rope=None if is_learned else RopeConfig(dim=shape.head_dim),
        learned_positions=is_learned,
        gated_mlp=shape.gated,
        tie_embeddings=shape.tied,
    )


def shape_text(
    shape: ModelShape, notes: tuple[str, ...] = (), stored: tuple[str, ...] = ()
) -> RenderableType:
    """Return the sizes of a model, one a line, with their source and with what is stored."""
    return Text("\n".join([*_lines(shape), *stored, *(f"note: {note}" for note in notes)]))


def _lines(shape: ModelShape) -> Iterator[str]:
    attention = f"{shape.heads} heads of {shape.head_dim}, {shape.kv_heads} key/value heads"
    yield f"{shape.name}: {shape.title}"
    yield f"source: {shape.source}"
    yield f"parameters: {_count(shape.params)}"
    yield f"layers: {shape.layers}, hidden size {shape.hidden}"
    yield f"attention: {attention}" + (f", window {shape.window}" if shape.window else "")
    if shape.experts is not None:
        experts = shape.experts
        yield f"experts: {experts.per_token} of {experts.count}, each {experts.intermediate} wide"
    else:
        yield f"feed-forward: {shape.intermediate} wide{', gated' if shape.gated else ''}"
    yield f"vocabulary: {shape.vocabulary}{', tied head' if shape.tied else ''}"
    yield f"context: {shape.max_context} tokens"


def _count(parameters: float) -> str:
    """Return a number of parameters in millions or billions.

    >>> _count(3_476_000), _count(8.03e9)
    ('3.476 M', '8.03 B')
    """
    unit, name = (1e9, "B") if parameters >= 1e9 else (1e6, "M")
    return f"{parameters / unit:.4g} {name}"
