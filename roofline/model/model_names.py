"""Find a model by the name that a person or a table of measurements gives it."""

import re
from functools import cache

from numerics.names.suggest import unknown
from roofline.model.model_shape import ModelShape, list_models, load_model

#: Relative difference of numbers of parameters up to which they mean one model.
SAME_SIZE = 0.12
#: Words that models of one family and size have in common.
NOISE = frozenset(
    ("meta", "google", "microsoft", "mistralai", "qwen/", "instruct", "chat", "hf", "it", "base",
     "v0", "gguf", "model", "the", "fp8", "awq", "gptq", "text", "128k", "4k", "preview", "latest",
     "nvidia", "nvfp4", "mxfp4", "hf", "ai", "thinking", "v")
)  # fmt: skip
#: Words for a model's size, redundant where the number of parameters is known.
KINDS = frozenset(("mini", "small", "medium", "large"))
#: Other names of families.
FAMILIES = {
    "vicuna": "llama", "alpaca": "llama", "llama1": "llama", "llama2": "llama-2",
    "llama3": "llama-3", "llama3.1": "llama-3.1", "llama3.2": "llama-3.2",
    "llama3.3": "llama-3.3", "meta-llama-3": "llama-3", "qwen2-5": "qwen2.5",
    "bitnet-2b": "bitnet-b1.58-2b-4t", "bitnet-3b": "bitnet-b1.58-3b",
    "deepseek-r1": "deepseek-v3", "deepseek-r1-distill-qwen": "qwen2.5",
    "deepseek-r1-distill-llama": "llama-3.1", "phi-3.5": "phi-3", "phi3.5": "phi-3",
    # Distilled models, by Ollama's names.
    **{f"deepseek-r1-{size}b": f"qwen2.5-{size}b" for size in ("1.5", "7", "14", "32")},
    **{f"deepseek-r1-{size}b": f"llama-3.1-{size}b" for size in ("8", "70")},
    "bitnet-b1-58": "bitnet-b1.58", "phi3": "phi-3", "gemma2": "gemma-2", "gemma3": "gemma-3",
}  # fmt: skip


def find_model(text: str, *, params: float | None = None) -> ModelShape | None:
    """Return the built-in model that a text names, or None; ``params`` has to agree if given.

    Examples
    --------
    >>> find_model("meta-llama/Llama-2-7b-chat-hf").name, find_model("LLaMA3 8B Instruct").name
    ('llama-2-7b', 'llama-3-8b')
    >>> find_model("nonsense-7b") is None
    True
    """
    if text in list_models() and params is None:
        return load_model(text)
    wanted = _canonical(text)
    fitting = [name for name in list_models() if _words(name) <= wanted]
    if params is not None:
        fitting = [
            name for name in fitting if abs(load_model(name).params / params - 1) < SAME_SIZE
        ]
        if not fitting:
            fitting = _by_family(wanted, params)
    elif not fitting:
        fitting = _of_one_size(wanted)
    if not fitting:
        return None
    return load_model(max(fitting, key=lambda name: (len("".join(_words(name))), -len(name))))


def _by_family(wanted: frozenset[str], params: float) -> list[str]:
    """Return the models nearest to a size in the family that a text names.

    A text without a version means all versions.
    """
    off = {}
    for name in list_models():
        family = {w for w in _words(name) - KINDS if not re.fullmatch(r"[\d.]+[bm]", w)}
        if not any(map(_is_version, wanted)):
            family = {word for word in family if not _is_version(word)}
        error = abs(load_model(name).params / params - 1)
        if error < SAME_SIZE and family and family <= wanted:
            off[name] = round(error, 2)
    return [name for name, error in off.items() if error == min(off.values())]


def _of_one_size(wanted: frozenset[str]) -> list[str]:
    """Return the only model with exactly the words of a text that has no size, if there is one."""
    named = [
        name
        for name in list_models()
        if frozenset(word for word in _words(name) if not _is_size(word)) == wanted
    ]
    return named if wanted and len(named) == 1 else []


def _is_size(word: str) -> bool:
    return re.fullmatch(r"[\dx.]+[bm]", word) is not None


def _is_version(word: str) -> bool:
    return re.fullmatch(r"\d+(\.\d+)?", word) is not None


@cache
def _words(name: str) -> frozenset[str]:
    return _canonical(name)


def _canonical(text: str) -> frozenset[str]:
    """Return the words of a name: family, version and size apart, in any order.

    >>> sorted(_canonical("Llama-2-7b-chat-hf")), sorted(_canonical("LLaMA3.1-8B"))
    (['2', '7b', 'llama'], ['3.1', '8b', 'llama'])
    """
    lowered = text.lower().split("/")[-1].replace("_", "-")
    for name, family in sorted(FAMILIES.items(), key=lambda pair: -len(pair[0])):
        flexible = re.escape(name).replace(r"\-", "[-: ]")
        lowered = re.sub(rf"(?<![a-z0-9]){flexible}(?![a-z0-9.])", family, lowered)
    lowered = re.sub(
        r"(?<=[a-z])(?=\d)", " ", re.sub(r"(\d+(?:\.\d+)?) ?([bm])\b", r" \1\2 ", lowered)
    )
    words = re.findall(r"\d+(?:\.\d+)?[bm]\b|\d+x\d+b|[a-z]+|\d+(?:\.\d+)?", lowered)
    # A number of four or more digits is a date.
    return frozenset(word for word in words if word not in NOISE and not re.match(r"\d{4}", word))


def known_model(text: str) -> ModelShape:
    """Return the built-in model that a text names, or raise ValueError with the nearest names."""
    found = find_model(text)
    if found is not None and not _other_versions(text, found.name):
        return found
    raise ValueError(unknown("model", text, list_models(), see="qsim models"))


def _other_versions(text: str, name: str) -> frozenset[str]:
    """Return the versions of a family that a text names and a model does not have.

    >>> _other_versions("llama-9-7b", "llama-7b")
    frozenset({'9'})
    """
    words = _canonical(re.sub(r"v\d[\d.]*|\d+k\b", " ", text.lower())) - _words(name)
    return frozenset(word for word in words if re.fullmatch(r"[1-9](\.\d+)?", word))
