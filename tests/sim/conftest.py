import json

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

HIDDEN, INNER, LAYERS, VOCAB = 64, 96, 2, 256
CONFIG = {
    "model_type": "llama",
    "vocab_size": VOCAB,
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
}


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """Return the directory of a random two-layer model whose tokens are bytes."""
    directory = tmp_path_factory.mktemp("tiny")
    rng = np.random.default_rng(0)
    shapes = {"model.embed_tokens": (VOCAB, HIDDEN)}
    for i in range(LAYERS):
        layer = f"model.layers.{i}."
        shapes |= {f"{layer}self_attn.{x}_proj": (HIDDEN, HIDDEN) for x in "qo"}
        shapes |= {f"{layer}self_attn.{x}_proj": (HIDDEN // 2, HIDDEN) for x in "kv"}
        shapes |= {f"{layer}mlp.{x}_proj": (INNER, HIDDEN) for x in ("gate", "up")}
        shapes[f"{layer}mlp.down_proj"] = (HIDDEN, INNER)
    tensors = {
        f"{name}.weight": (rng.standard_normal(shape) / 8).astype(np.float32)
        for name, shape in shapes.items()
    }
    norms = [
        f"model.layers.{i}.{n}"
        for i in range(LAYERS)
        for n in ("input_layernorm", "post_attention_layernorm")
    ]
    tensors |= {f"{n}.weight": np.ones(HIDDEN, np.float32) for n in (*norms, "model.norm")}
    save_file(tensors, directory / "model.safetensors")
    (directory / "config.json").write_text(json.dumps(CONFIG))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.save(str(directory / "tokenizer.json"))
    return directory


@pytest.fixture(scope="session")
def text_file(tmp_path_factory):
    """Return a text of 1,000 bytes."""
    path = tmp_path_factory.mktemp("text") / "letters.txt"
    letters = np.random.default_rng(1).integers(97, 123, 1000).astype(np.uint8)
    path.write_bytes(letters.tobytes())
    return path
