"""Read a BERT encoder from a directory of config.json, tokenizer.json and safetensors."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer

from sim.encoder.bert import BertConfig
from sim.errors import UserError
from sim.sources.fetch import checked_path
from sim.sources.files import read_json
from sim.sources.known import ALL_MINILM_L6_V2

MAX_CONFIG_BYTES = 2**20
#: Fields that change the mathematics, and the only value of each that is implemented.
EXPECTED = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "type_vocab_size": 2,
    "is_decoder": False,
    "add_cross_attention": False,
}


#: Stored tensors that a sentence embedding by mean pooling does not read: the pooler over the first
#: token, and position numbers 0, 1, 2, ... of old checkpoints.
UNUSED = {"pooler.dense.weight", "pooler.dense.bias", "embeddings.position_ids"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """Float weights, shape and tokenizer of an encoder."""

    name: str
    config: BertConfig
    params: dict[str, Array]
    tokenizer: Tokenizer


def open_minilm() -> Encoder:
    """Open the fetched all-MiniLM-L6-v2."""
    return open_encoder(checked_path(ALL_MINILM_L6_V2).parent, name=ALL_MINILM_L6_V2.title)


def open_encoder(directory: Path, *, name: str) -> Encoder:
    """Open the encoder in a directory; refuse one that is not a plain BERT."""
    config = _config(read_json(directory / "config.json", limit=MAX_CONFIG_BYTES), directory)
    params = _tensors(directory / "model.safetensors", config)
    try:
        tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    except Exception as error:  # the library raises bare ones
        raise UserError(f"can't read {directory / 'tokenizer.json'}: {error}") from None
    return Encoder(name=name, config=config, params=params, tokenizer=tokenizer)


def _config(fields: dict[str, Any], directory: Path) -> BertConfig:
    for key, value in EXPECTED.items():
        if fields.get(key, value) != value:
            raise UserError(
                f"{directory / 'config.json'} has {key} {fields[key]!r}; "
                f"only {value!r} is supported"
            )
    try:
        return BertConfig(
            vocab_size=int(fields["vocab_size"]),
            hidden_size=int(fields["hidden_size"]),
            intermediate_size=int(fields["intermediate_size"]),
            layers=int(fields["num_hidden_layers"]),
            heads=int(fields["num_attention_heads"]),
            max_positions=int(fields["max_position_embeddings"]),
            norm_eps=float(fields["layer_norm_eps"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{directory / 'config.json'} lacks a usable {error}") from None


def _tensors(path: Path, config: BertConfig) -> dict[str, Array]:
    params = {}
    try:
        with safe_open(path, "numpy") as stored:
            _check_unused(set(stored.keys()) - set(config.shapes()) - UNUSED, path)
            for name, shape in config.shapes().items():
                tensor = stored.get_tensor(name)
                if tensor.dtype != np.float32 or tensor.shape != shape:
                    raise UserError(
                        f"{name} in {path} is {tensor.dtype}{list(tensor.shape)}, not "
                        f"float32{list(shape)}"
                    )
                params[name] = jnp.asarray(tensor)
    except (SafetensorError, OSError) as error:
        raise UserError(f"can't read {path}: {error}") from None
    return params


def _check_unused(names: set[str], path: Path) -> None:
    """Refuse tensors that the forward pass would leave out."""
    if names:
        raise UserError(
            f"{path} has tensors that a BERT encoder does not use: {', '.join(sorted(names)[:3])}; "
            "the model would not compute what was trained"
        )
