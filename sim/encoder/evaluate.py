"""Effect of a weight format on embeddings: cosine to the float model's, SQNR of each layer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float32

from numerics import Scheme, fake_quantize
from sim.encoder.bert import BertConfig, embed
from sim.encoder.reader import Encoder
from sim.errors import UserError
from sim.methods.measure import sqnr_db

#: Limit on the tokens of a sentence, the rest is cut; the model's authors cut at 256.
MAX_TOKENS = 128
BATCH = 64
#: Shorter lines are left out: most of them are headings.
MIN_CHARACTERS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderResult:
    """A weight format on an encoder."""

    recipe: str
    bits_per_weight: float
    #: Mean of 1 - cosine between embeddings and the float model's, with its standard error.
    cosine_loss: float
    cosine_loss_se: float
    #: 99th percentile of 1 - cosine.
    cosine_loss_p99: float
    #: SQNR of each quantized matrix, by name.
    sqnr_db: dict[str, float]

    @property
    def median_sqnr_db(self) -> float:
        """Median over the matrices."""
        return float(np.median(list(self.sqnr_db.values())))


def sentences(text: str, count: int) -> list[str]:
    """Return the first lines of a text that have at least ``MIN_CHARACTERS`` characters."""
    lines = (line.strip() for line in text.splitlines())
    found = [line for line in lines if len(line) >= MIN_CHARACTERS][:count]
    if len(found) < count:
        raise UserError(
            f"the text has {len(found)} lines of at least {MIN_CHARACTERS} characters, not {count}"
        )
    return found


class EncoderBench:
    """An encoder, some sentences, and the float model's embeddings of them."""

    def __init__(self, encoder: Encoder, lines: Sequence[str]) -> None:
        self.encoder = encoder
        self._tokens, self._mask = _tokenize(encoder, lines)
        self._embed = jax.jit(partial(embed, config=encoder.config))
        self.reference = self.embeddings(encoder.params)

    def embeddings(self, params: dict[str, Array]) -> Float32[np.ndarray, "n d"]:
        """Return the embedding of each sentence under some weights."""
        batches = range(0, len(self._tokens), BATCH)
        rows = [
            self._embed(params, self._tokens[i : i + BATCH], self._mask[i : i + BATCH])
            for i in batches
        ]
        return np.concatenate([np.asarray(row) for row in rows])

    def measure(self, name: str, scheme: Scheme) -> EncoderResult:
        """Quantize every linear layer and compare with the float model."""
        params, levels = quantize_linear(self.encoder.params, self.encoder.config, scheme)
        return _result(name, scheme, self.encoder.config, self, params, levels)


def quantize_linear(
    params: dict[str, Array], config: BertConfig, scheme: Scheme
) -> tuple[dict[str, Array], dict[str, float]]:
    """Return the parameters with quantized linear weights, and the SQNR of each matrix."""
    quantized, levels = dict(params), {}
    for name in config.linear_shapes():
        matrix = params[f"{name}.weight"]
        rounded = fake_quantize(matrix, scheme)
        noise = float(jnp.sum((rounded - matrix) ** 2))
        level = sqnr_db(float(jnp.sum(matrix**2)), noise)
        levels[name] = math.inf if level is None else level
        quantized[f"{name}.weight"] = rounded
    return quantized, levels


def _result(
    name: str,
    scheme: Scheme,
    config: BertConfig,
    bench: EncoderBench,
    params: dict[str, Array],
    levels: dict[str, float],
) -> EncoderResult:
    # Both have unit length up to rounding; half the squared distance keeps small angles exact.
    difference = bench.embeddings(params).astype(np.float64) - bench.reference
    loss = 0.5 * np.sum(difference**2, axis=-1)
    shapes = config.linear_shapes().values()
    size = sum(math.prod(shape) for shape in shapes)
    bits = sum(math.prod(shape) * scheme.bits_per_weight(shape) for shape in shapes)
    return EncoderResult(
        recipe=name,
        bits_per_weight=bits / size,
        cosine_loss=float(loss.mean()),
        cosine_loss_se=float(loss.std(ddof=1) / math.sqrt(len(loss))),
        cosine_loss_p99=float(np.percentile(loss, 99)),
        sqnr_db=levels,
    )


def _tokenize(encoder: Encoder, lines: Sequence[str]) -> tuple[Array, Array]:
    """Return token ids, padded with zeros to one length, and their mask."""
    encoder.tokenizer.enable_truncation(MAX_TOKENS)
    encoder.tokenizer.enable_padding(length=MAX_TOKENS)
    found = encoder.tokenizer.encode_batch(list(lines))
    tokens = np.array([e.ids for e in found], np.int32)
    mask = np.array([e.attention_mask for e in found], bool)
    return jnp.asarray(tokens), jnp.asarray(mask)
