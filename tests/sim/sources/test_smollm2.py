"""The reader on a real file, against transformers; skipped where the model is not fetched.

Fetch it with ``qsim models fetch smollm2-135m-instruct``. What transformers computes, and for which
text, is described in ``tests/golden/smollm2/README.md``.
"""

import hashlib
import json
import os
import time
from functools import partial
from pathlib import Path

import gguf
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from sim.errors import UserError
from sim.model.families import linear_names, tensor_shapes
from sim.model.forward import hidden_states
from sim.model.head import reference_scores
from sim.model.params import ModelBuffers
from sim.sources.catalog import open_model
from sim.sources.dither import DitheredSource
from sim.sources.known import SMOLLM2_135M
from sim.sources.text import read_text

GOLDEN = Path(__file__).parents[2] / "golden" / "smollm2"
#: The joined WikiText-2 raw test split: beside the project, or where the variable says.
TEXT = Path(
    os.environ.get("QSIM_WIKITEXT2")
    or Path(__file__).parents[4] / "shared" / "data" / "wikitext2_test_raw_joined.txt"
)
STATM = Path("/proc/self/statm")


@pytest.fixture(scope="module")
def source():
    try:
        return open_model(SMOLLM2_135M.id)
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def golden():
    values = json.loads((GOLDEN / "golden.json").read_text())
    return values | load_file(GOLDEN / "golden.safetensors")


def test_the_file_is_what_the_catalog_says(source, golden):
    assert golden["gguf_sha256"] == SMOLLM2_135M.members[0].sha256
    assert source.source_types == {"Q4_1": 210, "F32": 61, "Q8_0": 1}
    assert source.name == "SmolLM2-135M-Instruct, dequantized from Q4_1/Q8_0"
    assert len(source.notes) == 1
    shapes = tensor_shapes(source.config).values()
    assert sum(int(np.prod(shape)) for shape in shapes) == SMOLLM2_135M.parameters


def resident_bytes() -> int:
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not STATM.exists(), reason="needs /proc")
def test_reading_all_tensors_is_fast_and_keeps_no_memory(source):
    source.read("embed_tokens.weight")
    before, start = resident_bytes(), time.process_time()
    size = sum(source.read(name).nbytes for name in tensor_shapes(source.config))
    assert time.process_time() - start < 15  # measured: 0.8 s
    assert size == 4 * SMOLLM2_135M.parameters
    # At most the largest tensor, 113 MB, may still be in the allocator's hands.
    assert resident_bytes() - before < 120 * 2**20


def test_the_dither_has_the_error_of_the_grid(source):
    dithered = DitheredSource(source, 0)
    signal = noise = 0.0
    for name in linear_names(source.config)[:28]:
        weights = source.read(f"{name}.weight").astype(np.float64)
        signal += float((weights**2).sum())
        noise += float(((dithered.read(f"{name}.weight") - weights) ** 2).sum())
    # 21.7 dB over all layers; the first four differ by less than 1 dB from that.
    assert 10 * np.log10(signal / noise) == pytest.approx(21.7, abs=1.0)


@pytest.fixture(scope="module")
def tokens(source):
    if not TEXT.is_file():
        pytest.skip("needs the joined WikiText-2 raw test split; QSIM_WIKITEXT2 names its file")
    return source.tokenizer().encode(read_text(TEXT).content)


def test_all_tokens_of_wikitext_are_those_of_llama_cpp(source, golden, tokens):
    text = read_text(TEXT).content
    assert hashlib.sha256(text.encode()).hexdigest() == golden["text_sha256"]
    assert tokens.size == golden["text_tokens"] == 304_978
    assert hashlib.sha256(tokens.astype("<i4").tobytes()).hexdigest() == golden["tokens_sha256"]
    tokenizer = source.tokenizer()
    assert tokenizer.bos_id is None and tokenizer.vocab_size == source.config.vocab_size
    assert tokenizer.decode(tokens) == text


@pytest.mark.slow
def test_weights_are_those_of_the_librarys_own_reader(source):
    reader = gguf.GGUFReader(source.path)
    stored = {tensor.name: tensor for tensor in reader.tensors}
    for name, heads in (("q", 9), ("k", 3)):
        tensor = stored[f"blk.7.attn_{name}.weight"]
        rows = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        read = source.read(f"layers.7.self_attn.{name}_proj.weight")
        for head in range(heads):
            for pair in range(32):
                first = 64 * head + 2 * pair
                assert np.array_equal(read[64 * head + pair], rows[first])
                assert np.array_equal(read[64 * head + pair + 32], rows[first + 1])
    down = stored["blk.29.ffn_down.weight"]
    expected = gguf.quants.dequantize(down.data, down.tensor_type)
    assert np.array_equal(source.read("layers.29.mlp.down_proj.weight"), expected)


@pytest.mark.slow
def test_the_likelihood_of_wikitext_is_that_of_transformers(source, golden, tokens):
    buffers = ModelBuffers(source.config)
    for name in tensor_shapes(source.config):
        buffers.write(name, source.read(name))
    params, tokens = buffers.params(), jnp.asarray(tokens[:512])
    hidden = jax.jit(partial(hidden_states, config=source.config))(params, tokens)
    log_probs, nll = reference_scores(hidden, params, source.config, tokens)
    assert np.abs(np.asarray(nll) - golden["nll"]).max() < 5e-4
    perplexity = float(np.exp(np.mean(np.asarray(nll, np.float64))))
    assert perplexity == pytest.approx(golden["perplexity"], rel=1e-5)  # 280.6 in GGUF's row order
    is_asked = golden["positions"] < log_probs.shape[0]
    theirs = golden["logits"][is_asked].astype(np.float64)
    ours = np.asarray(log_probs)[golden["positions"][is_asked]][:, golden["columns"]]
    # Log-probabilities and logits differ by a constant a row.
    difference = (ours - theirs) - (ours - theirs)[:, :1]
    assert np.abs(difference).max() < 5e-4
