"""GGUF files in llama.cpp itself; needs llama-cpp-python of the extra ``oracles``."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sim.model.forward import hidden_states
from sim.model.head import logits
from sim.model.params import ModelBuffers
from sim.model.tensors import linear_names, tensor_shapes
from sim.quantized.gguf_writer import GgufPlan, write_gguf
from sim.quantized.writer import write_model
from sim.sources.catalog import open_model
from sim.sources.embedded import open_embedded
from sim.sources.hf_directory import open_directory
from sim.sweep.recipe import embedding_names
from sim.sweep.recipe_file import make_recipe

pytestmark = pytest.mark.slow

TEXT = "The king said that he would not go to the city, and the men came 1234 times."
#: Largest difference of logits in their standard deviations. llama.cpp multiplies float32 weights
#: in float32, takes GELU from a table in FP16, rounds activations to BF16 for weights in BF16 and
#: to blocks of 8 bits for quantized ones; measured were 1e-5, 1e-3, 0.016 and 0.06.
EXACT, GELU, HALF, ROUNDED = 1e-4, 3e-3, 0.05, 0.2
FAMILIES = {
    "llama": EXACT, "llama-linear-biases": EXACT, "llama-llama3-tied": EXACT, "qwen2": EXACT,
    "qwen3": EXACT, "phi3-longrope-long": EXACT, "gpt2": GELU, "phi": GELU,
}  # fmt: skip
GOLDEN = Path(__file__).parents[2] / "golden" / "families"


@pytest.fixture(scope="module")
def llama_cpp():
    return pytest.importorskip("llama_cpp")


def our_logits(path, ids):
    model = open_model(str(path))
    buffers = ModelBuffers(model.config)
    for name in tensor_shapes(model.config):
        buffers.write(name, model.read(name))
    params = buffers.params()
    hidden = jax.jit(hidden_states, static_argnums=2)(params, jnp.asarray(ids), model.config)
    return np.asarray(logits(hidden, params, model.config))


def opened(llama_cpp, path, context=256):
    """Open a file with the cache in float32 and every logit kept."""
    return llama_cpp.Llama(
        str(path),
        n_ctx=context,
        n_batch=context,
        logits_all=True,
        verbose=False,
        type_k=0,
        type_v=0,
        flash_attn=False,
    )


def difference(theirs, ours):
    """Largest difference in standard deviations."""
    return np.abs(np.array(theirs[: len(ours)]) - ours).max() / ours.std()


@pytest.mark.parametrize(("family", "limit"), FAMILIES.items())
def test_llama_cpp_computes_every_family_as_we_do(llama_cpp, tmp_path, family, limit):
    source, path = open_directory(GOLDEN / family), tmp_path / "model.gguf"
    kept = frozenset((*linear_names(source.config), *embedding_names(source.config)))
    chosen = GgufPlan(file_type=0, schemes={}, kept=kept)
    write_gguf(source, chosen, path, {"tokenizer.ggml.model": "none"})
    ids = list(range(1, 25))
    model = opened(llama_cpp, path, context=64)
    model.eval(ids)
    assert difference(model.scores, our_logits(path, ids)) < limit


@pytest.mark.parametrize(
    ("name", "limit"), [("float32", HALF), ("q8_0", ROUNDED), ("q4_k_m", ROUNDED)]
)
def test_llama_cpp_loads_a_file_and_writes_text(llama_cpp, tmp_path, name, limit):
    path = write_model(open_embedded(), make_recipe(name), tmp_path / "model.gguf")
    model = opened(llama_cpp, path)
    ids = model.tokenize(TEXT.encode(), add_bos=False)
    assert ids == open_model(str(path)).tokenizer().encode(TEXT).tolist()
    model.eval(ids)
    assert difference(model.scores, our_logits(path, ids)) < limit
    text = model("The king", max_tokens=8, temperature=0)["choices"][0]["text"]
    assert len(text.split()) > 2
