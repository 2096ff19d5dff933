"""Make the golden token ids of tokenizer directories: ``python make_goldens.py``.

Needs transformers (the ``goldens`` extra). Each case is a small tokenizer with other files beside
it, and the ids that ``AutoTokenizer`` gives. ``cases.json`` says what version made it.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import transformers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer

HERE = Path(__file__).parent
Json = dict[str, Any]
TOKEN: Json = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False}
#: ``PRETOKENIZE_REGEX`` of ``tokenization_qwen2.py``.
QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEXT = "Hello<|x|>Hello <|x|> Hello</s>Hello 1911<|endoftext|><unk>"


def byte_level() -> Tokenizer:
    """Byte-level BPE of GPT-2's kind."""
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "He", "lo", "ĠHe", "19", "</s>"]
    merges = [("H", "e"), ("l", "o"), ("Ġ", "He"), ("1", "9")]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def sentencepiece(*, as_normalizer: bool) -> Tokenizer:
    """BPE over characters with bytes to fall back on, of Llama 2's kind."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    tokens += ["▁", "H", "e", "l", "o", "▁H", "el", "lo", "▁Hel"]
    merges = [("▁", "H"), ("e", "l"), ("l", "o"), ("▁H", "el")]
    model = models.BPE({t: i for i, t in enumerate(tokens)}, merges)
    model.byte_fallback, model.fuse_unk, model.unk_token = True, True, "<unk>"
    tokenizer = Tokenizer(model)
    if as_normalizer:
        steps = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        tokenizer.normalizer = normalizers.Sequence(steps)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)])
    return tokenizer


def with_template(tokenizer: Tokenizer, *parts: str) -> Json:
    """Return a tokenizer whose template puts special tokens around the sequence ``A``."""
    raw: Json = json.loads(tokenizer.to_str())
    special = {part: tokenizer.token_to_id(part) for part in parts if part != "A"}
    raw["added_tokens"] = [
        {"id": index, "content": part, "special": True, **TOKEN} for part, index in special.items()
    ]
    single = [
        {"Sequence": {"id": "A", "type_id": 0}}
        if part == "A"
        else {"SpecialToken": {"id": part, "type_id": 0}}
        for part in parts
    ]
    raw["post_processor"] = {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {
            part: {"id": part, "ids": [index], "tokens": [part]} for part, index in special.items()
        },
    }
    return raw


def with_digits(tokenizer: Tokenizer) -> Json:
    """Return a tokenizer that cuts digits apart first."""
    raw: Json = json.loads(tokenizer.to_str())
    digits = {"type": "Digits", "individual_digits": True}
    raw["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [digits, raw["pre_tokenizer"]]}
    return raw


def with_spaces(tokenizer: Tokenizer) -> Json:
    """Return a byte-level tokenizer that puts a space before a text."""
    raw: Json = json.loads(tokenizer.to_str())
    raw["pre_tokenizer"]["add_prefix_space"] = True
    return raw


def of_qwen(tokenizer: Tokenizer) -> Json:
    """Return a tokenizer that cuts a text into words as Qwen 2 does."""
    words = pre_tokenizers.Split(Regex(QWEN), "isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, to_bytes])
    tokenizer.normalizer = normalizers.NFC()
    raw: Json = json.loads(tokenizer.to_str())
    return raw


TOKENIZERS: dict[str, Json] = {
    "bytes-qwen": of_qwen(byte_level()),
    "bytes": json.loads(byte_level().to_str()),
    "bytes-space": with_spaces(byte_level()),
    "bytes-digits": with_digits(byte_level()),
    "bytes-before": with_template(byte_level(), "</s>", "A"),
    "bytes-after": with_template(byte_level(), "A", "</s>"),
    "bytes-both": with_template(byte_level(), "</s>", "A", "</s>"),
    "bytes-two": with_template(byte_level(), "</s>", "19", "A", "</s>"),
    "pieces-normalizer": json.loads(sentencepiece(as_normalizer=True).to_str()),
    "pieces-metaspace": json.loads(sentencepiece(as_normalizer=False).to_str()),
}
GENERIC, CONFIG = {"tokenizer_class": "PreTrainedTokenizerFast"}, "tokenizer_config.json"
X = {"content": "<|x|>", **TOKEN}
STRIPPING = {"content": "<|x|>", **TOKEN, "lstrip": True, "rstrip": True, "special": True}


def generic(**fields: Any) -> dict[str, Json]:
    """Return the files of a tokenizer of no class in particular."""
    return {CONFIG: GENERIC | fields}


def token_cases() -> dict[str, tuple[str, str, dict[str, Json]]]:
    """Return ways to add tokens: name, model type and files."""
    decoder = {"3000": {"content": "<|x|>"}, "5": {"content": "<|w|>"}}
    special = {"special_tokens_map.json": {"pad_token": "<|x|>"}}
    return {
        "no files": ("bytes", "llama", {}),
        "decoder": ("bytes", "llama", generic(added_tokens_decoder={"7": X})),
        "decoder order": ("bytes", "llama", generic(added_tokens_decoder=decoder)),
        "decoder flags": ("bytes", "llama", generic(added_tokens_decoder={"7": STRIPPING})),
        "decoder over json": (
            "bytes-before",
            "llama",
            generic(added_tokens_decoder={"260": STRIPPING | {"content": "</s>"}}),
        ),
        "legacy": ("bytes", "llama", generic() | {"added_tokens.json": {"<|x|>": 300}}),
        "legacy order": (
            "bytes",
            "llama",
            generic() | {"added_tokens.json": {"<|x|>": 302, "1911": 301}},
        ),
        "map": ("bytes", "llama", generic() | special),
        "map object": (
            "bytes",
            "llama",
            generic() | {"special_tokens_map.json": {"pad_token": STRIPPING}},
        ),
        "map unread": ("bytes", "llama", generic(added_tokens_decoder={}) | special),
        "additional": ("bytes", "llama", generic(additional_special_tokens=["<|x|>"])),
        "additional in vocabulary": ("bytes", "llama", generic(additional_special_tokens=["lo"])),
        "extra list": ("bytes", "llama", generic(extra_special_tokens=["<|y|>", "<|x|>"])),
        "extra object": ("bytes", "llama", generic(extra_special_tokens={"image": "<|x|>"})),
        "image token": ("bytes", "llama", generic(image_token="<|x|>", pad_token="<|p|>")),
        "pad": ("bytes", "llama", generic(pad_token="<|x|>")),
        "split": ("bytes", "llama", generic(pad_token="<|x|>", split_special_tokens=True)),
        "class and null": (
            "bytes",
            "gpt2",
            {CONFIG: {"tokenizer_class": "GPT2Tokenizer", "unk_token": None, "bos_token": None}},
        ),
        "legacy with ids of the vocabulary": (
            "pieces-normalizer",
            "mistral",
            {
                CONFIG: {"tokenizer_class": "LlamaTokenizer"},
                "added_tokens.json": {"<unk>": 0, "<s>": 1, "</s>": 2, "<|x|>": 268},
            },
        ),
        "all": (
            "bytes",
            "llama",
            generic(
                pad_token="1911",
                additional_special_tokens=["<|x|>"],
                added_tokens_decoder={"9": {"content": "Hello"}},
            ),
        ),
    }


def space_cases() -> dict[str, tuple[str, str, dict[str, Json]]]:
    """Return combinations of class and ``add_prefix_space``: name, model type and files."""
    cases = {}
    for kind, model, flag in [
        ("GPT2Tokenizer", "llama", True),
        ("GPT2TokenizerFast", "gpt2", None),
        ("GPT2Tokenizer", "llama", False),
        ("Qwen2Tokenizer", "qwen2", True),
        ("CodeGenTokenizer", "phi", True),
        ("PreTrainedTokenizerFast", "llama", True),
        ("LlamaTokenizerFast", "llama", True),
        (None, "opt", True),
        (None, "llama", True),
        (None, "qwen2", None),
    ]:
        fields: Json = {} if kind is None else {"tokenizer_class": kind}
        fields |= {} if flag is None else {"add_prefix_space": flag}
        for tokenizer in ("bytes-qwen",) if model == "qwen2" else ("bytes", "bytes-space"):
            cases[f"{tokenizer} {kind} {model} {flag}"] = tokenizer, model, {CONFIG: fields}
    for tokenizer in ("pieces-normalizer", "pieces-metaspace"):
        for kind, model in [
            ("LlamaTokenizer", "llama"),
            ("LlamaTokenizerFast", "llama"),
            ("PreTrainedTokenizerFast", "llama"),
            ("LlamaTokenizer", "mistral"),
            ("LlamaTokenizer", "phi3"),
            (None, "llama"),
        ]:
            for options in ({}, {"add_prefix_space": False}, {"legacy": True}, {"legacy": False}):
                names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
                fields = names | ({} if kind is None else {"tokenizer_class": kind}) | options
                name = f"{tokenizer} {kind} {model} {options}"
                cases[name] = tokenizer, model, {CONFIG: fields}
    return cases


def template_cases() -> dict[str, tuple[str, str, dict[str, Json]]]:
    """Return templates without a word on BOS beside them."""
    return {
        f"template {name}": (name, "llama", generic())
        for name in ("bytes", "bytes-before", "bytes-after", "bytes-both", "bytes-two")
    }


def make(tokenizer: str, model_type: str, files: dict[str, Json]) -> Json:
    """Return a case with the ids of :data:`TEXT`, and those with what the template adds."""
    with tempfile.TemporaryDirectory() as directory:
        contents = files | {"tokenizer.json": TOKENIZERS[tokenizer]}
        contents |= {"config.json": {"model_type": model_type}}
        for name, content in contents.items():
            Path(directory, name).write_text(json.dumps(content))
        loaded = AutoTokenizer.from_pretrained(directory)
    return {
        "tokenizer": tokenizer,
        "files": files | {"config.json": {"model_type": model_type}},
        "ids": loaded(TEXT, add_special_tokens=False)["input_ids"],
        "with_template": loaded(TEXT)["input_ids"],
    }


def main() -> None:
    """Make all cases."""
    transformers.logging.set_verbosity_error()
    cases = token_cases() | space_cases() | template_cases()
    golden = {
        "transformers": transformers.__version__,
        "text": TEXT,
        "tokenizers": TOKENIZERS,
        "cases": {name: make(*case) for name, case in cases.items()},
    }
    text = json.dumps(golden, ensure_ascii=False, separators=(",", ":"))
    (HERE / "cases.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
