"""A random model whose tokenizer has a merge, as GGUF needs."""

import json
import shutil

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from sim.sources.catalog import open_model


@pytest.fixture(scope="session")
def merging_model(tiny_model, tmp_path_factory):
    """Return the tiny model with a token of two letters, special tokens and a chat template."""
    directory = shutil.copytree(tiny_model, tmp_path_factory.mktemp("merging") / "tiny")
    letters = [c for c in sorted(pre_tokenizers.ByteLevel.alphabet()) if c not in "\u00fe\u00fd"]
    names = [*letters, "th", "<s>"]
    vocabulary = {name: index for index, name in enumerate(names)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [("t", "h")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["<s>"])
    tokenizer.save(str(directory / "tokenizer.json"))
    settings = {
        "bos_token": "<s>",
        "eos_token": {"content": "<s>"},
        "add_bos_token": True,
        "chat_template": "{{ messages }}",
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return directory


@pytest.fixture(scope="session")
def source(merging_model):
    return open_model(str(merging_model))
