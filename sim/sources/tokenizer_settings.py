"""Settings in the files beside ``tokenizer.json``: added tokens, BOS, prefix space.

``tokenizer_config.json`` names the class of the tokenizer, its special tokens and its options;
older directories keep tokens in ``added_tokens.json`` and ``special_tokens_map.json``.

Sources: ``tokenization_utils_base.py``, ``tokenization_utils_tokenizers.py`` and the tokenizers of
GPT-2 and Llama in transformers 5.24. One difference: ``add_bos_token`` is obeyed as in
transformers 4; version 5 ignores it where there is a ``tokenizer.json``.
"""

import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken

from sim.errors import UserError
from sim.sources.files import read_json

MAX_BYTES = 2**24
CONFIG, ADDED, SPECIAL = "tokenizer_config.json", "added_tokens.json", "special_tokens_map.json"

#: Fields of the configuration that name one special token each.
NAMED = tuple(f"{name}_token" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"))
#: Classes that set ``add_prefix_space`` of the byte-level pre-tokenizer, which is off by default.
BYTE_LEVEL_CLASSES = ("GPT2Tokenizer", "Qwen2Tokenizer", "CodeGenTokenizer")
#: Class of a directory whose configuration names none, by ``model_type``.
DEFAULT_CLASSES = {
    **dict.fromkeys(("gpt2", "opt", "phi"), "GPT2Tokenizer"),
    **dict.fromkeys(("qwen2", "qwen3"), "Qwen2Tokenizer"),
}
_END = "<|endoftext|>"
#: Special tokens of a class where the configuration does not name them.
CLASS_TOKENS: Mapping[str, Mapping[str, str]] = {
    "GPT2Tokenizer": {"bos_token": _END, "eos_token": _END, "unk_token": _END},
    "CodeGenTokenizer": {"bos_token": _END, "eos_token": _END, "unk_token": _END},
    "Qwen2Tokenizer": {"eos_token": _END, "unk_token": _END, "pad_token": _END},
    "LlamaTokenizer": {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
}
#: Pre-tokenizer of ``LlamaTokenizer``, which takes the place of what ``tokenizer.json`` says: words
#: begin with a mark, put before the text ``first``, before each part between tokens, or ``never``.
METASPACE = {"type": "Metaspace", "replacement": "▁", "split": False}
_TOKEN_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerSettings:
    """The settings of a directory, from all files beside ``tokenizer.json``."""

    path: Path
    config: Mapping[str, Any]
    added: tuple[AddedToken, ...]
    class_name: str | None

    @property
    def class_tokens(self) -> Mapping[str, str]:
        """Special tokens of the class, by the field that would name another."""
        return CLASS_TOKENS.get(self.class_name or "", {})

    @property
    def special(self) -> tuple[AddedToken, ...]:
        """Special tokens that the configuration names, in the order in which they get ids."""
        return _special_tokens(self.config, self.class_name, self.path)


def _class_name(config: Mapping[str, Any], model_type: object, text: str) -> str | None:
    """Return the name of a tokenizer's class, without the suffix of fast ones.

    ``LlamaTokenizer`` means itself only in models of the type ``llama`` and where the text of
    ``tokenizer.json`` is not byte-level.
    """
    name = config.get("tokenizer_class") or DEFAULT_CLASSES.get(str(model_type))
    name = name.removesuffix("Fast") if isinstance(name, str) else None
    is_other = model_type != "llama" or re.search(r'"type":\s*"ByteLevel"', text) is not None
    return None if name == "LlamaTokenizer" and is_other else name


def _special_tokens(
    config: Mapping[str, Any], class_name: str | None, path: Path
) -> tuple[AddedToken, ...]:
    extra = config.get("extra_special_tokens") or config.get("additional_special_tokens") or ()
    if not isinstance(extra, Mapping | list | tuple):
        raise UserError(f"{path}: extra_special_tokens must be a list, not {extra!r:.60}")
    names = dict(CLASS_TOKENS.get(class_name or "", {})) | dict(config)
    values = [names.get(name) for name in NAMED]
    values += [value for name, value in config.items() if _names_a_token(name, value)]
    values += list(extra.values() if isinstance(extra, Mapping) else extra)
    return tuple(_token(value, path, special=True) for value in values if value)


def _names_a_token(name: str, value: object) -> bool:
    """Return whether a field names a special token of one model, such as ``image_token``."""
    return name.endswith("_token") and name not in NAMED and isinstance(value, str)


def read_settings(directory: Path, text: str) -> TokenizerSettings:
    """Read the files beside ``tokenizer.json``, whose text is given; all of them may be absent."""
    path = directory / CONFIG
    config = _object(path)
    class_name = _class_name(config, _object(directory / "config.json").get("model_type"), text)
    if "added_tokens_decoder" in config:
        added = _decoder_tokens(config["added_tokens_decoder"], path)
    else:
        config |= _object(directory / SPECIAL)
        special = {token.content for token in _special_tokens(config, class_name, path)}
        added = _legacy_tokens(directory / ADDED, special)
    return TokenizerSettings(path=path, config=config, added=added, class_name=class_name)


def _object(path: Path) -> dict[str, Any]:
    return read_json(path, limit=MAX_BYTES) if path.is_file() else {}


def _decoder_tokens(decoder: object, path: Path) -> tuple[AddedToken, ...]:
    """Return the tokens of ``added_tokens_decoder``, an object of tokens by id, in order of id."""
    if not isinstance(decoder, Mapping) or not all(str(key).isdecimal() for key in decoder):
        raise UserError(f"{path}: added_tokens_decoder must be an object of tokens by id")
    return tuple(_token(decoder[key], path) for key in sorted(decoder, key=int))


def _legacy_tokens(path: Path, special: Set[str]) -> tuple[AddedToken, ...]:
    """Return the tokens of ``added_tokens.json``, an object of ids by token, in order of id."""
    ids = _object(path)
    if not all(type(index) is int for index in ids.values()):
        raise UserError(f"{path} must be an object of ids by token")
    return tuple(
        AddedToken(text, special=text in special, normalized=text not in special)
        for text in sorted(ids, key=lambda text: ids[text])
    )


def _token(value: object, path: Path, *, special: bool = False) -> AddedToken:
    """Return a token that is written as its text or as an object."""
    if isinstance(value, str):
        return AddedToken(value, special=special)
    if isinstance(value, Mapping) and isinstance(value.get("content"), str):
        flags = {name: value[name] for name in _TOKEN_FLAGS if isinstance(value.get(name), bool)}
        return AddedToken(value["content"], **({"special": True} | flags if special else flags))
    raise UserError(f"{path}: {value!r:.60} is not a token; a token is a string or an object")


def add_tokens(backend: tokenizers.Tokenizer, settings: TokenizerSettings) -> frozenset[int]:
    """Add the tokens of the settings; return the new ids.

    Flags of an added token hold over those in ``tokenizer.json``; a special token is added only
    where no token has its name.
    """
    before = set(backend.get_vocab(with_added_tokens=True).values())
    backend.add_tokens(list(settings.added))
    known = {token.content for token in backend.get_added_tokens_decoder().values()}
    backend.add_tokens([token for token in settings.special if token.content not in known])
    backend.encode_special_tokens = settings.config.get("split_special_tokens") is True
    return frozenset(backend.get_vocab(with_added_tokens=True).values()) - before


def set_prefix_space(raw: dict[str, Any], settings: TokenizerSettings) -> bool:
    """Set whether a parsed ``tokenizer.json`` puts a space before a text, if its class says so.

    Return whether the class says so.
    """
    if settings.class_name in BYTE_LEVEL_CLASSES:
        for part in _parts(raw.get("pre_tokenizer")):
            if part["type"] == "ByteLevel":
                part["add_prefix_space"] = settings.config.get("add_prefix_space") is True
        return True
    if settings.class_name != "LlamaTokenizer":
        return False
    scheme = "always" if settings.config.get("legacy") is True else "first"
    if settings.config.get("add_prefix_space") is False:
        scheme = "never"
    raw["normalizer"] = None
    raw["pre_tokenizer"] = METASPACE | {"prepend_scheme": scheme}
    return True


def _parts(pre_tokenizer: object) -> Iterator[dict[str, Any]]:
    """Yield the parts of a pre-tokenizer, which may be a sequence of others."""
    if isinstance(pre_tokenizer, dict) and "type" in pre_tokenizer:
        yield pre_tokenizer
        for part in pre_tokenizer.get("pretokenizers") or ():
            yield from _parts(part)
