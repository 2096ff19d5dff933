"""The metadata of a GGUF file that holds a model's tokenizer.

A GGUF source provides the keys. For other sources they are made from ``tokenizer.json`` and the
settings files, in the forms that llama.cpp's ``llama-vocab.cpp`` loads: byte-level BPE (``gpt2``)
with a pre-tokenizer of a known name, and SentencePiece BPE (``llama``), whose scores are the ranks
of the merges. A tokenizer that these keys do not fully describe is also stored whole as
``tokenizer.huggingface.json``.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gguf import TokenType

from sim.errors import UserError
from sim.quantized.gguf_keys import Metadata
from sim.sources.files import read_json
from sim.sources.gguf_file import GgufFile
from sim.sources.gguf_header import GgufHeader
from sim.sources.gguf_tokenizer import PRE_TOKENIZERS, WHOLE_TOKENIZER, build_tokenizer
from sim.sources.hf_directory import HfDirectory
from sim.sources.source import ModelSource
from sim.sources.tokenizer import Tokenizer

PREFIX = "tokenizer."
#: Prefix of settings for special tokens, and the name in the GGUF key of their id.
SPECIAL = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
MAX_SETTINGS_BYTES = 2**24
TEMPLATE_FILE = "chat_template.jinja"
#: Text that each known pre-tokenizer splits differently: letters, digits, white space, signs,
#: contractions.
PROBE = (
    "It's 1234567 o'clock, I'LL say we'Re done!!\n\n  two  spaces\tand\ttabs \r\n 3.14 x=y+1;\n"
    "    return {'a': [1, 22, 333]}  # naïve café 我想 работа ½ ٣٤ 🙂  \n \n"
)
#: Byte 0xff, which UTF-8 text never contains, as byte-level vocabularies write it; its token serves
#: as end-of-text token, since without one llama.cpp uses token 11, a comma in most vocabularies.
UNUSED_BYTE = "\u00ff"


def vocabulary_keys(source: ModelSource) -> Metadata:
    """Return the keys of the tokenizer of a model."""
    if isinstance(source, GgufFile):
        return _copied(source.header, PREFIX)
    tokenizer = source.tokenizer()
    raw = json.loads(tokenizer.backend.to_str())
    tokens, types = _tokens(tokenizer, raw, source.config.vocab_size)
    keys: Metadata = {f"{PREFIX}ggml.tokens": tokens, f"{PREFIX}ggml.token_type": types}
    special = _special_tokens(source, tokenizer)
    keys |= special | _kind_keys(tokenizer, raw, keys | special, source.config.vocab_size)
    if "tokenizer.ggml.eos_token_id" not in keys and UNUSED_BYTE in tokens:
        unused = tokens.index(UNUSED_BYTE)
        keys |= {f"{PREFIX}ggml.{name}_token_id": unused for name in ("bos", "eos")} | special
    return keys


def general_keys(source: ModelSource) -> Metadata:
    """Return the keys of the model's name and origin."""
    if not isinstance(source, GgufFile):
        return {"general.type": "model", "general.name": source.name}
    dropped = ("architecture", "file_type", "quantization_version", "alignment")
    copied = _copied(source.header, "general.")
    return {key: v for key, v in copied.items() if key.removeprefix("general.") not in dropped}


def _copied(header: GgufHeader, prefix: str) -> Metadata:
    found = {key: value for key, value in header.metadata.items() if key.startswith(prefix)}
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in found.items()}


def _tokens(tokenizer: Tokenizer, raw: dict[str, Any], rows: int) -> tuple[list[str], list[int]]:
    """Return name and type of the token of each embedding row; rows without a token are unused."""
    ids = tokenizer.backend.get_vocab(with_added_tokens=True)
    names = {index: name for name, index in ids.items() if index < rows}
    tokens = [names.get(index, f"[PAD{index}]") for index in range(rows)]
    types = [int(TokenType.NORMAL if i in names else TokenType.UNUSED) for i in range(rows)]
    if raw["model"].get("byte_fallback"):
        for index, name in names.items():
            if re.fullmatch(r"<0x[0-9A-F]{2}>", name):
                types[index] = int(TokenType.BYTE)
    for token in raw.get("added_tokens", []):
        if token["id"] < rows:
            kind = TokenType.CONTROL if token["special"] else TokenType.USER_DEFINED
            types[token["id"]] = int(kind)
    unknown = raw["model"].get("unk_token")
    if raw["model"].get("byte_fallback") and unknown in ids:
        types[ids[unknown]] = int(TokenType.UNKNOWN)
    return tokens, types


def _kind_keys(tokenizer: Tokenizer, raw: dict[str, Any], found: Metadata, rows: int) -> Metadata:
    if raw["model"]["type"] != "BPE":
        raise UserError(
            f"a tokenizer of the type {raw['model']['type']} can't be written as GGUF; "
            "BPE can, byte-level or with byte fallback"
        )
    if raw["model"].get("byte_fallback"):
        return _sentencepiece_keys(tokenizer, raw, rows)
    if not raw["model"]["merges"]:
        raise UserError(
            "a tokenizer without merges can't be written as GGUF; llama.cpp needs merges"
        )
    merges = [m if isinstance(m, str) else " ".join(m) for m in raw["model"]["merges"]]
    keys: Metadata = {f"{PREFIX}ggml.model": "gpt2", f"{PREFIX}ggml.merges": merges}
    return keys | {f"{PREFIX}ggml.pre": _pre_tokenizer(tokenizer, found | keys)}


def _pre_tokenizer(tokenizer: Tokenizer, keys: Metadata) -> str:
    """Return the name of the pre-tokenizer that splits a text as the model's does."""
    wanted = tokenizer.encode(PROBE).tolist()
    tried: set[tuple[str, ...]] = set()
    for tag, expressions in PRE_TOKENIZERS.items():
        if expressions in tried:
            continue
        tried.add(expressions)
        metadata: Mapping[str, Any] = {
            **keys,
            f"{PREFIX}ggml.pre": tag,
            f"{PREFIX}ggml.token_type": np.array(keys[f"{PREFIX}ggml.token_type"], np.int32),
        }
        header = GgufHeader(path=Path("model.gguf"), metadata=metadata, tensors={})
        if build_tokenizer(header).encode(PROBE).tolist() == wanted:
            return tag
    raise UserError(
        "the model's pre-tokenizer has no known name in GGUF; known names are "
        f"{', '.join(PRE_TOKENIZERS)}"
    )


def _sentencepiece_keys(tokenizer: Tokenizer, raw: dict[str, Any], rows: int) -> Metadata:
    ids = tokenizer.backend.get_vocab(with_added_tokens=True)
    scores = [0.0] * rows
    for rank, merge in enumerate(raw["model"]["merges"]):
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        index = ids[left + right]
        scores[index] = scores[index] or -1.0 - rank
    text = json.dumps([raw.get("normalizer"), raw.get("pre_tokenizer")])
    has_prefix = '"Prepend"' in text or '"first"' in text or '"always"' in text
    return {
        f"{PREFIX}ggml.model": "llama",
        f"{PREFIX}ggml.pre": "default",
        f"{PREFIX}ggml.scores": scores,
        f"{PREFIX}ggml.add_space_prefix": has_prefix,
        WHOLE_TOKENIZER: json.dumps(raw, ensure_ascii=False),
    }


def _special_tokens(source: ModelSource, tokenizer: Tokenizer) -> Metadata:
    """Return the ids of special tokens, whether BOS is added, and the chat template."""
    if len(tokenizer.prefix_ids) > 1:
        names = ", ".join(repr(tokenizer.backend.id_to_token(i)) for i in tokenizer.prefix_ids)
        raise UserError(
            f"the tokenizer puts {len(tokenizer.prefix_ids)} tokens before a text, {names}; a GGUF "
            "file can hold one, so write a packed checkpoint (--out without .gguf)"
        )
    keys: Metadata = {f"{PREFIX}ggml.add_bos_token": tokenizer.bos_id is not None}
    directory = source.path if isinstance(source, HfDirectory) else None
    settings = _settings(directory, "tokenizer_config.json")
    config = _settings(directory, "config.json")
    for name, key in SPECIAL.items():
        if (index := _special_id(name, settings, config, tokenizer)) is not None:
            keys[f"{PREFIX}ggml.{key}_token_id"] = index
    if tokenizer.bos_id is not None:
        keys[f"{PREFIX}ggml.bos_token_id"] = tokenizer.bos_id
    if (template := _chat_template(settings, directory)) is not None:
        keys[f"{PREFIX}chat_template"] = template
    return keys


def _settings(directory: Path | None, name: str) -> dict[str, Any]:
    if directory is None or not (directory / name).is_file():
        return {}
    return read_json(directory / name, limit=MAX_SETTINGS_BYTES)


def _special_id(
    name: str, settings: dict[str, Any], config: dict[str, Any], tokenizer: Tokenizer
) -> int | None:
    token = settings.get(f"{name}_token")
    content = token.get("content") if isinstance(token, dict) else token
    if isinstance(content, str):
        index: int | None = tokenizer.backend.token_to_id(content)
        if index is not None:
            return index
    index = config.get(f"{name}_token_id")
    index = index[0] if isinstance(index, list) and index else index
    is_known = type(index) is int and 0 <= index < tokenizer.vocab_size
    return index if is_known else None


def _chat_template(settings: dict[str, Any], directory: Path | None) -> str | None:
    template = settings.get("chat_template")
    if isinstance(template, list):
        template = next((t.get("template") for t in template if t.get("name") == "default"), None)
    if template is None and directory is not None and (directory / TEMPLATE_FILE).is_file():
        template = (directory / TEMPLATE_FILE).read_text(encoding="utf-8")
    return template if isinstance(template, str) else None
