"""What the files of a model store: formats, bits, kept layers, activations, tokenizer."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator

from numerics import Scheme
from sim.errors import UserError
from sim.model.tensors import EMBED_TOKENS, LM_HEAD, linear_names, tensor_shapes
from sim.sources.hf_directory import HfDirectory
from sim.sources.packed import PackedCheckpoint
from sim.sources.source import StoredModel
from sim.sweep.checkpoint import about_weights
from sim.sweep.weights import checkpoint_storage

#: Layers that are named; more are counted.
NAMED = 4


def stored_lines(source: StoredModel) -> Iterator[str]:
    """Yield the lines on what a model stores."""
    storage = checkpoint_storage(source)
    yield f"linear layers: {about_weights(source)}"
    bits = f"{storage.bits_per_weight:.4g} in the files"
    if (parts := _scheme_bits(source)) is not None:
        bits += f"; {parts[0]:.4g} of codes alone, {parts[1]:.4g} with side data"
    yield f"bits per weight: {bits}; {storage.model_bytes / 1e6:.4g} MB in all"
    if kept := _kept(source):
        more = f" and {len(kept) - NAMED} more" if len(kept) > NAMED else ""
        yield f"in floating point: {', '.join(kept[:NAMED])}{more}"
    if isinstance(source, HfDirectory) and source.quantized is not None:
        yield f"written by: {source.quantized.layout.title}"
        yield f"activations: {_schemes(source.activations.values(), 'layers')}"
        yield f"KV cache: {_schemes(source.kv.values(), 'layers')}"
    yield f"tokenizer: {_tokenizer(source)}"


def _tokenizer(source: StoredModel) -> str:
    try:
        tokenizer = source.tokenizer()
    except UserError as error:
        return str(error)
    digest = hashlib.sha256(tokenizer.backend.to_str().encode()).hexdigest()[:12]
    start = f", {len(tokenizer.prefix_ids)} before a text" if tokenizer.prefix_ids else ""
    return f"{tokenizer.backend.get_vocab_size()} tokens{start}, SHA-256 {digest}"


def _scheme_bits(source: StoredModel) -> tuple[float, float] | None:
    """Return bits per weight of codes and of all arrays; ``None`` unless every layer has both."""
    shapes = tensor_shapes(source.config)
    index = full = weights = 0.0
    for layer in linear_names(source.config):
        shape, scheme = shapes[f"{layer}.weight"], _scheme_of(source, layer)
        if scheme is None:
            return None
        count = math.prod(shape)
        index += count * scheme.bits_per_weight(shape, kind="index")
        full += count * scheme.bits_per_weight(shape, kind="full")
        weights += count
    return index / weights, full / weights


def _scheme_of(source: StoredModel, layer: str) -> Scheme | None:
    if isinstance(source, PackedCheckpoint):
        return source.description.matrices.get(layer)
    if not isinstance(source, HfDirectory) or source.quantized is None:
        return None
    stored = source.quantized.layer_of(f"{layer}.weight")
    return None if stored is None else stored.layer.scheme


def _kept(source: StoredModel) -> list[str]:
    """Return the matrices in floating point, if others are quantized."""
    tables = [n for n in (EMBED_TOKENS, LM_HEAD) if f"{n}.weight" in tensor_shapes(source.config)]
    names = [*linear_names(source.config), *tables]
    kept = [name for name in names if not source.is_quantized(f"{name}.weight")]
    return kept if len(kept) < len(names) else []


def _schemes(schemes: Iterable[Scheme], what: str) -> str:
    counts = Counter(scheme.name for scheme in schemes)
    shown = [f"{count} {what} {name}" for name, count in counts.most_common(NAMED)]
    more = f" and {len(counts) - NAMED} other scales" if len(counts) > NAMED else ""
    return ", ".join(shown) + more if shown else "in floating point"
