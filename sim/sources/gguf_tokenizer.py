"""Build a tokenizer from the vocabulary and merges that a GGUF file carries.

Only byte-level BPE (``tokenizer.ggml.model`` = ``gpt2``) is built. A SentencePiece vocabulary is
stored without its normalizer and, for unigram models, without its kind, so it is refused, unless
the file holds the whole ``tokenizer.json`` as well.

Source: ``llama_vocab::impl::load`` and ``llm_tokenizer_bpe`` in ``llama-vocab.cpp`` of llama.cpp at
commit 0c1e57098, whose defaults of absent keys hold, with two exceptions. A file that names no
pre-tokenizer is refused, where llama.cpp warns and takes one that no released model has; and so is
one that asks for BOS and names none, where llama.cpp takes token 11.
"""

from collections.abc import Mapping

import numpy as np
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Backend

from sim.errors import UserError
from sim.sources.gguf_header import GgufHeader
from sim.sources.tokenizer import Tokenizer, load_tokenizer, parse_tokenizer

#: Types of tokens whose names in a text are read as those tokens.
_UNKNOWN, _CONTROL, _USER_DEFINED = 2, 3, 4

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_LLAMA3 = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace("{1,3}", "")
_DIGITS = r"\p{N}"

#: Tags whose vocabulary holds words that merges alone can't reach, and whose input begins with
#: BOS unless the file says otherwise.
_LLAMA3_TAGS = ("llama-bpe", "llama-v3", "llama3", "falcon3", "pixtral", "midm-2.0")
#: Expressions that cut a text into words, one after the other, by ``tokenizer.ggml.pre``; matches
#: and what lies between them are words.
PRE_TOKENIZERS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("gpt-2", "phi-2", "olmo", "mellum", "a.x-4.0", "trillion"), (_GPT2,)),
    **dict.fromkeys(("smollm", "starcoder", "minerva-7b"), (_DIGITS, _GPT2)),
    **dict.fromkeys((*_LLAMA3_TAGS, "smaug-bpe", "dbrx"), (_LLAMA3,)),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "megrez", "kormo", "f2llmv2"), (_QWEN2,)),
}


#: Key of a whole ``tokenizer.json``; the GGUF specification of ggml, docs/gguf.md.
WHOLE_TOKENIZER = "tokenizer.huggingface.json"


def gguf_tokenizer(header: GgufHeader) -> Tokenizer:
    """Return the tokenizer in a GGUF file; if it can't be rebuilt, tokenizer.json beside it."""
    try:
        return build_tokenizer(header)
    except UserError:
        if (header.path.parent / "tokenizer.json").is_file():
            return load_tokenizer(header.path.parent)
        raise


def build_tokenizer(header: GgufHeader) -> Tokenizer:
    """Return the tokenizer built from the vocabulary in a GGUF file."""
    kind = header.metadata.get("tokenizer.ggml.model")
    tag = header.metadata.get("tokenizer.ggml.pre", "default")
    if kind != "gpt2" and isinstance(whole := header.metadata.get(WHOLE_TOKENIZER), str):
        backend = parse_tokenizer(whole, header.path)
        return Tokenizer(backend, _prefix_ids(header, "", backend.get_vocab_size()))
    if kind != "gpt2":
        raise UserError(
            f"{header.path} has a vocabulary of the kind {kind!r}; only byte-level BPE ('gpt2') "
            "can be rebuilt from a GGUF file, so put the model's tokenizer.json beside it"
        )
    if not isinstance(tag, str) or tag not in PRE_TOKENIZERS:
        raise UserError(
            f"{header.path} has the pre-tokenizer {tag!r}; known are {', '.join(PRE_TOKENIZERS)}; "
            "put the model's tokenizer.json beside the file instead"
        )
    backend = _backend(header, tag)
    return Tokenizer(backend, _prefix_ids(header, tag, backend.get_vocab_size()))


def _backend(header: GgufHeader, tag: str) -> Backend:
    tokens = _tokens(header)
    vocabulary = {token: index for index, token in enumerate(tokens)}
    if len(vocabulary) != len(tokens):
        raise UserError(f"{header.path}: tokenizer.ggml.tokens has a token twice")
    merges = _merges(header)
    try:
        model = models.BPE(vocabulary, merges, ignore_merges=tag in _LLAMA3_TAGS)
    except Exception as error:  # the library raises plain Exception
        raise UserError(f"{header.path}: merges don't fit the vocabulary: {error}") from None
    backend = Backend(model)
    words = [pre_tokenizers.Split(Regex(r), "isolated") for r in PRE_TOKENIZERS[tag]]
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([*words, to_bytes])
    backend.decoder = decoders.ByteLevel()
    _add_special(backend, header, tokens)
    return backend


def _add_special(backend: Backend, header: GgufHeader, tokens: list[str]) -> None:
    types = header.metadata.get("tokenizer.ggml.token_type", np.ones(len(tokens), np.int32))
    if not isinstance(types, np.ndarray) or len(types) != len(tokens):
        raise UserError(f"{header.path}: tokenizer.ggml.token_type must have one entry a token")
    control = [tokens[i] for i in np.flatnonzero((types == _CONTROL) | (types == _UNKNOWN))]
    named = [tokens[i] for i in np.flatnonzero(types == _USER_DEFINED)]
    backend.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in control])
    backend.add_tokens([AddedToken(t, normalized=False) for t in named])


def _tokens(header: GgufHeader) -> list[str]:
    """Return the vocabulary; empty tokens get names of their own."""
    tokens = _strings(header, "tokenizer.ggml.tokens")
    return [token or f"[EMPTY_{index}]" for index, token in enumerate(tokens)]


def _strings(header: GgufHeader, key: str) -> list[str]:
    value = header.metadata.get(key)
    if not isinstance(value, list) or not value:
        raise UserError(f"{header.path} has no list of strings {key}")
    return value


def _merges(header: GgufHeader) -> list[tuple[str, str]]:
    merges: list[tuple[str, str]] = []
    for merge in _strings(header, "tokenizer.ggml.merges"):
        # A token may be a space itself in no byte-level alphabet: there it is written as Ġ.
        left, _, right = merge.partition(" ")
        if not left or not right or " " in right:
            raise UserError(f"{header.path}: {merge!r:.60} is not a merge of two tokens")
        merges.append((left, right))
    return merges


def _prefix_ids(header: GgufHeader, tag: str, tokens: int) -> tuple[int, ...]:
    flag = header.metadata.get("tokenizer.ggml.add_bos_token", tag in _LLAMA3_TAGS)
    bos_id = header.metadata.get("tokenizer.ggml.bos_token_id")
    if not flag:
        return ()
    if type(bos_id) is not int or not 0 <= bos_id < tokens:
        raise UserError(f"{header.path} asks for a BOS token, but names none of its vocabulary")
    return (bos_id,)
