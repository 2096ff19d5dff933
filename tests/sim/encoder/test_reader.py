import json

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models

from sim.encoder.bert import BertConfig
from sim.encoder.reader import open_encoder
from sim.errors import UserError

CONFIG = {
    "model_type": "bert",
    "vocab_size": 11,
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 6,
    "layer_norm_eps": 1e-12,
}
SIZES = BertConfig(
    vocab_size=11,
    hidden_size=8,
    intermediate_size=12,
    layers=1,
    heads=2,
    max_positions=6,
    norm_eps=1e-12,
)


def write(path, extra):
    stored = {name: np.ones(shape, np.float32) for name, shape in SIZES.shapes().items()}
    save_file(stored | extra, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(CONFIG))
    Tokenizer(models.WordLevel({"a": 0}, "a")).save(str(path / "tokenizer.json"))
    return path


def test_the_pooler_and_position_numbers_are_passed_over(tmp_path):
    pooler = {"pooler.dense.weight": np.ones((8, 8), np.float32)}
    pooler |= {"pooler.dense.bias": np.ones(8, np.float32)}
    numbers = {"embeddings.position_ids": np.arange(6)[None]}
    encoder = open_encoder(write(tmp_path, pooler | numbers), name="tiny")
    assert encoder.config == SIZES and set(encoder.params) == set(SIZES.shapes())


def test_a_tensor_that_would_be_left_out_is_named(tmp_path):
    path = write(tmp_path, {"encoder.layer.1.output.dense.bias": np.ones(8, np.float32)})
    message = (
        f"^{path}/model.safetensors has tensors that a BERT encoder does not use: "
        "encoder.layer.1.output.dense.bias; the model would not compute what was trained$"
    )
    with pytest.raises(UserError, match=message):
        open_encoder(path, name="tiny")
