import json
import math
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from numerics import fake_quantize, parse_scheme
from sim.encoder.evaluate import EncoderBench, quantize_linear, sentences
from sim.encoder.reader import open_encoder
from sim.errors import UserError

GOLDEN = Path(__file__).parents[2] / "golden" / "encoder" / "random.safetensors"
FIELDS = {
    "model_type": "bert",
    "vocab_size": 50,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "max_position_embeddings": 128,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
}
LINES = ["w1 w2 w3 w4", "w5 w9", "w7 w8 w2 w30 w31 w5", "w1"]


@pytest.fixture
def directory(tmp_path):
    weights = load_file(GOLDEN)
    weights = {k.removeprefix("model."): v for k, v in weights.items() if "." in k}
    name = "embeddings.position_embeddings.weight"
    weights[name] = np.resize(weights[name], (128, 24))
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(FIELDS))
    words = {f"w{i}": i for i in range(50)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


@pytest.fixture
def bench(directory):
    return EncoderBench(open_encoder(directory, name="random"), LINES)


def test_fewer_bits_turn_embeddings_further(bench):
    results = [
        bench.measure(name, parse_scheme(name)) for name in ("int8:g8", "int4:g8", "int2:g8")
    ]
    losses = [r.cosine_loss for r in results]
    assert 0 < losses[0] < losses[1] / 10 < losses[2] / 20
    assert [r.bits_per_weight for r in results] == [10.0, 6.0, 4.0]
    assert results[0].median_sqnr_db > results[1].median_sqnr_db + 15


def test_the_loss_is_one_minus_the_cosine(bench):
    scheme = parse_scheme("int3:g8")
    params, levels = quantize_linear(bench.encoder.params, bench.encoder.config, scheme)
    found, reference = bench.embeddings(params).astype(float), bench.reference.astype(float)
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(reference, axis=1)
    cosines = np.sum(found * reference, axis=1) / norms
    result = bench.measure("int3", scheme)
    assert result.cosine_loss == pytest.approx(1 - cosines.mean(), rel=1e-3)
    assert result.cosine_loss_p99 <= 1 - cosines.min() + 1e-6
    assert result.sqnr_db == levels


def test_only_linear_matrices_are_quantized(bench):
    scheme = parse_scheme("int4:g8")
    before = bench.encoder.params
    after, levels = quantize_linear(before, bench.encoder.config, scheme)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {f"{name}.weight" for name in bench.encoder.config.linear_shapes()}
    name = next(iter(levels))
    matrix = np.asarray(before[f"{name}.weight"], float)
    noise = np.sum((np.asarray(fake_quantize(before[f"{name}.weight"], scheme)) - matrix) ** 2)
    assert levels[name] == pytest.approx(10 * math.log10(np.sum(matrix**2) / noise), rel=1e-4)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("hidden_act", "relu", "has hidden_act 'relu'; only 'gelu' is supported"),
        ("model_type", "roberta", "has model_type 'roberta'; only 'bert' is supported"),
        ("hidden_size", 32, r"is float32\[50, 24\], not float32\[50, 32\]"),
        ("num_hidden_layers", None, "lacks a usable"),
        ("num_hidden_layers", 3, "can't read"),
    ],
)
def test_other_encoders_are_refused(directory, field, value, message):
    (directory / "config.json").write_text(json.dumps(FIELDS | {field: value}))
    with pytest.raises(UserError, match=message):
        open_encoder(directory, name="x")


def test_sentences_are_long_lines():
    text = "short\n" + "a line that is long enough to mean something, it says\n" * 3
    assert len(sentences(text, 3)) == 3
    with pytest.raises(UserError, match="has 3 lines of at least 40 characters, not 4"):
        sentences(text, 4)
