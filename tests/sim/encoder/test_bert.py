"""The encoder against transformers; goldens are made by ``tests/golden/encoder/make_golden.py``."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from sim.encoder.bert import BertConfig, embed
from sim.encoder.evaluate import EncoderBench
from sim.encoder.reader import open_minilm
from sim.errors import UserError

GOLDEN = Path(__file__).parents[2] / "golden" / "encoder"
CONFIG = BertConfig(
    vocab_size=50,
    hidden_size=24,
    intermediate_size=40,
    layers=2,
    heads=3,
    max_positions=16,
    norm_eps=1e-12,
)
SENTENCES = [
    "The quick brown fox jumps over the lazy dog.",
    "A fast auburn fox leapt across a sleepy hound.",
    "Interest rates rose by a quarter of a point on Tuesday.",
]


@pytest.fixture(scope="module")
def golden():
    stored = load_file(GOLDEN / "random.safetensors")
    params = {k.removeprefix("model."): jnp.asarray(v) for k, v in stored.items() if "." in k}
    return params, stored["tokens"], stored["mask"], stored["embeddings"]


RUN = jax.jit(partial(embed, config=CONFIG))


def test_embeddings_are_those_of_transformers(golden):
    params, tokens, mask, expected = golden
    assert set(params) == set(CONFIG.shapes())
    assert np.abs(RUN(params, tokens, mask) - expected).max() < 2e-6


def test_what_is_masked_does_not_matter(golden):
    params, tokens, mask, _ = golden
    other = np.where(mask, tokens, 7)
    assert np.array_equal(RUN(params, tokens, mask), RUN(params, other, mask))


def test_every_tensor_matters(golden):
    params, tokens, mask, expected = golden
    still = []
    for name, tensor in params.items():
        changed = params | {name: tensor * 1.5 + 0.1}
        if np.abs(RUN(changed, tokens, mask) - expected).max() < 1e-3:
            still.append(name)
    # A bias of keys adds the same to all scores of a query, which the softmax takes out again.
    assert still == [f"encoder.layer.{i}.attention.self.key.bias" for i in range(CONFIG.layers)]


def test_minilm_embeds_as_in_transformers():
    try:
        encoder = open_minilm()
    except UserError as error:
        pytest.skip(str(error))
    expected = load_file(GOLDEN / "minilm.safetensors")["embeddings"]
    found = EncoderBench(encoder, SENTENCES).reference
    assert np.abs(found - expected).max() < 2e-6
    assert found[0] @ found[1] > 0.6 > 0.2 > found[0] @ found[2]
