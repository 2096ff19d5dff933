"""Formats of measured rows: weights, activations and KV cache in the words of a table."""

import re
from dataclasses import replace
from functools import cache

from hw.machine import GIB, Machine
from roofline.model.model_shape import ModelShape
from roofline.runtime.activations import as_run
from roofline.runtime.engine import engine_for
from roofline.runtime.gguf_mixes import MIXES
from roofline.runtime.serving_format import TERNARY_BITS, ServingFormat, parse_format
from roofline.runtime.storage import Storage
from roofline.workload.memory import weight_bytes

#: A number inside a text.
NUMBER = r"(?<![\d.])\d+(?:\.\d+)?(?![\d.])"
#: A KV cache with its format, such as ``kv8`` or ``KV cache fp8``.
CACHE = re.compile(r"kv[- ]?(?:cache)?[- ]?(int8|fp8|int4|fp16|bf16|16|8|4)\b")
#: Least and most bits per weight that the file size of a row may give.
LEAST_BITS, MOST_BITS = 0.1, 64.0
#: Mixes by other words of tables, in which a block type is the mix that files of its name have.
MIX_ALIASES = {
    "q3_k": "q3_k_m",
    "q4_k": "q4_k_m",
    "q5_k": "q5_k_m",
    "q4": "q4_0",
    "q5": "q5_0",
    "q6": "q6_k",
    "q8": "q8_0",
}
#: Words of formats that only CPUs run, such as those of bitnet.cpp's kernels.
CPU_FORMATS = (*TERNARY_BITS, "t-mac", "tmac", "ternary", "bitnet", "tq1", "tq2")


def kind_of(weights: str) -> str | None:
    """Return the only kind of machine that runs a format, or None where several do."""
    lowered = weights.lower()
    return "cpu" if any(word in lowered for word in CPU_FORMATS) else None


@cache
def read_format(
    weights: str,
    activations: str,
    shape: ModelShape,
    *,
    machine: Machine | None = None,
    smallest: bool = False,
) -> ServingFormat:
    """Return the serving format of the formats in a table.

    ``gguf-Q4_K_M (4.90 bpw; 4.58 GiB)`` is scaled to the size of the file. ``smallest`` gives
    cache and head the smallest usual format where the text names none.

    >>> from roofline.model.model_shape import load_model
    >>> shape = load_model("llama-3-8b")
    >>> fmt = read_format("gguf-Q4_K_M (4.90 bpw; 4.58 GiB)", "", shape)
    >>> round(weight_bytes(shape, fmt) / 2**30, 4)
    4.58
    """
    text = weights.lower().strip()
    words = f"{text} {activations}".lower()
    fmt = _named_format(text, activations.lower().strip())
    if re.search(r"a16|weight[- ]only|marlin", text):
        fmt = replace(fmt, native_activations=None)
    fmt = _with_cache(fmt, words, machine)
    if smallest:
        fmt = _smallest(fmt, words)
    size = re.search(rf"({NUMBER}) ?(gib|gb|mib|mb)\b", text)
    bits = re.search(rf"({NUMBER}) ?(?:bpw|bits)", text)
    if size:
        unit = {"gib": GIB, "gb": 1e9, "mib": GIB / 1024, "mb": 1e6}[size[2]]
        return _scaled(fmt, shape, float(size[1]) * unit)
    if bits and fmt.mix:
        return _scaled(fmt, shape, float(bits[1]) / 8 * shape.params)
    return fmt


def _with_cache(fmt: ServingFormat, words: str, machine: Machine | None) -> ServingFormat:
    """Return a format with the KV cache format that a text names.

    Engines store the cache of FP8 models in FP8, and so do NVIDIA's checkpoints in NVFP4, whose
    ``hf_quant_config.json`` has ``"kv_cache_quant_algo": "FP8"``.
    """
    found = CACHE.search(words)
    names = {"8": "int8", "4": "int4", "fp8": "fp8_e4m3", "16": "fp16", "bf16": "fp16"}
    if found:
        return replace(fmt, kv=names.get(found[1], found[1]))
    if machine is not None and fmt.native_activations == "fp4":
        fmt = as_run(fmt, machine, engine_for(fmt))
    is_float = fmt.activations in ("fp8", "fp4")
    return replace(fmt, kv="fp8_e4m3") if is_float else fmt


def _smallest(fmt: ServingFormat, words: str) -> ServingFormat:
    """Return a format with a head in the format of its weights, and an 8-bit KV cache.

    TensorRT-LLM may store an 8-bit cache with one scale for a tensor; MLC and TensorRT Edge-LLM
    quantize the head.
    """
    is_wide = fmt.weights.bits_per_weight(4096, 4096) >= 16
    if is_wide or not engine_for(fmt).narrows_cache_and_head:
        return fmt
    fmt = replace(fmt, head=fmt.weights)
    is_wide = fmt.activations in ("fp16", "fp32") or CACHE.search(words) is not None
    return fmt if is_wide else replace(fmt, kv="fp8_e4m3")


def _scaled(fmt: ServingFormat, shape: ModelShape, file_bytes: float) -> ServingFormat:
    bits = 8 * file_bytes / shape.params
    if not LEAST_BITS <= bits <= MOST_BITS:
        raise ValueError(f"a file of {file_bytes:g} bytes has {bits:.2g} bits a weight")
    return replace(fmt, size_factor=file_bytes / weight_bytes(shape, fmt))


def _named_format(text: str, activations: str) -> ServingFormat:
    head = re.split(r"[(;,]", text)[0].strip()
    act = _activation(activations)
    tokens = re.findall(r"[a-z0-9_.]+", head.replace("-", " "))
    # Only llama-bench writes file sizes in GiB and FP16 as f16.
    is_gguf = any(word in text for word in ("gguf", "ggml", "llama.cpp", "gib")) or "f16" in tokens
    if re.search(r"t-?mac", text):
        bits = re.search(r"(?:w|int|q)(\d)|(\d)[- ]?bit", text)
        return parse_format(f"tmac-{bits[1] or bits[2]}" if bits else "tmac-2")
    if match := re.search(rf"exl[23]\D*({NUMBER})|({NUMBER}) ?bpw exl[23]", text):
        return _exllama(float(match[1] or match[2]))
    sized = re.search(r"\bg(?:roup)? ?(\d+)\b", text)
    group = f"-g{sized[1]}" if sized else ""
    for token in tokens:
        name = MIX_ALIASES.get(token, token)
        is_plain = name in ("f16", "bf16", "f32")
        if name in MIXES and (is_gguf or not (is_plain or name == "mxfp4")):
            return parse_format(f"gguf-{name}")
        if name in TERNARY_BITS:
            return parse_format(name)
        if name in ("fp16", "f16", "bf16", "float16", "bfloat16", "half", "w16a16"):
            return parse_format("fp16")
        if name in ("fp32", "f32", "float32"):
            return parse_format("fp32")
        if name == "fp8":
            return parse_format("fp8")
        if name in ("nvfp4", "mxfp4", "fp4", "nf4"):
            return parse_format(name, activations=act)
        if match := re.fullmatch(r"w(\d+)a(\d+)(kv\d+)?", name):
            if "fp8" in tokens and match[1] == match[2] == "8":
                return parse_format("fp8")
            return parse_format(name + ("" if match[1] in ("16", "32") else group))
        if match := re.fullmatch(r"w?int(\d)|w(\d)|(\d)bit", name) or _bare(name, tokens):
            width = "16" if act in (None, "fp16") else "8"
            return parse_format(f"w{next(filter(None, match.groups()))}a{width}{group}")
        if name in ("int8", "sq", "smoothquant"):
            return parse_format("w8a8")
        if name in ("awq", "gptq"):
            bits = re.search(r"(\d)[- ]?bit|int(\d)|\bw(\d)", text)
            return parse_format(f"w{next(filter(None, bits.groups())) if bits else 4}a16{group}")
        if name in ("ternary", "bitnet", "tq", "b1.58"):
            return parse_format("i2_s")
    return parse_format(head)


def _bare(name: str, tokens: list[str]) -> re.Match[str] | None:
    """Match the digit of ``4-bit``, or a digit alone; not the digits of ``2:4``."""
    place = tokens.index(name)
    is_width = len(tokens) == 1 or tokens[place + 1 : place + 2] in (["bit"], ["bits"])
    return re.fullmatch(r"(\d)", name) if is_width else None


def _exllama(bits: float) -> ServingFormat:
    """Return a format of ExLlama, whose weights have a mean number of bits.

    >>> _exllama(4.65).weights.bits_per_weight(4096, 4096)
    4.65
    """
    if not 1 <= bits <= 16:
        raise ValueError(f"{bits:g} bits a weight; ExLlama stores 1 to 16")
    return ServingFormat(name=f"exl2 {bits:g}", weights=Storage(name="exl2", bits=bits))


def _activation(text: str) -> str | None:
    names = {
        "fp16": "fp16",
        "f16": "fp16",
        "bf16": "fp16",
        "a16": "fp16",
        "fp8": "fp8",
        "e4m3": "fp8",
        "mxfp8": "fp8",
        "bfloat16": "fp16",
        "float16": "fp16",
        "int8": "int8",
        "a8": "int8",
        "i8": "int8",
        "fp4": "fp4",
        "nvfp4": "fp4",
        "mxfp4": "fp4",
        "a4": "int4",
        "fp32": "fp32",
        "f32": "fp32",
        "int4": "int4",
    }
    return names.get(text)
