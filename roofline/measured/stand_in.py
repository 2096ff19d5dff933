"""Shapes that stand in for measured models of which only name and size are known."""

import re
from dataclasses import replace
from math import log

from roofline.model.model_shape import ModelShape, list_models, load_model

#: Built-in families whose proportions a model of unknown shape is given.
PATTERN_FAMILY = ("llama-", "tinyllama", "smollm2", "llama-2-", "llama-3")
#: Attention of families that are not built in, by their published configurations: a pattern of
#: names, the most parameters that it holds for, and whether each query head has its own key head
#: (multi-head) or all share one (multi-query).
EACH, ONE = True, False
HEADS = (
    (r"vicuna|alpaca|koala|guanaco|wizardlm|open-?llama|llama-?v?1(?![\d.])", 66e9, EACH),
    (r"code-?llama|llama-?v?2(?![\d.])", 30e9, EACH),
    (r"qwen-?1\.5.*(32|110)b", 0.0, EACH),
    (r"qwen(?!-?v?[23])", 80e9, EACH),
    (r"deepseek-?(llm|coder)|aquila|stable-?lm", 8e9, EACH),
    (r"\bopt\b|mpt|gpt-?(2|3|j|neo)|pythia|dolly|redpajama|bloom|galactica|cerebras", 1e12, EACH),
    (r"baichuan|internlm(?!-?[23])|\bphi-?[12]|codegen|xgen|persimmon|orion", 1e12, EACH),
    (r"olmo(?!e)", 20e9, EACH),
    (r"falcon(?!-?[23h])", 10e9, ONE),
    (r"starcoder(?!-?2)|santacoder", 20e9, ONE),
)


def stand_in(text: str, params: float) -> ModelShape:
    """Return a shape of a model's size with the attention of its family.

    >>> shape = stand_in("Qwen1.5-72B-Chat", 72.3e9)
    >>> shape.kv_heads == shape.heads, stand_in("Falcon-7B", 7e9).kv_heads
    (True, 1)
    """
    lowered = re.sub(r"[_ ]", "-", text.lower().split("/")[-1])
    found = next((each for each in HEADS if re.search(each[0], lowered)), None)
    shape = shape_of_size(params)
    if found is None or params > found[1]:
        return shape
    return shape_of_size(params, kv_heads=shape.heads if found[2] is EACH else 1)


def size_in_name(text: str) -> float | None:
    """Return the number of parameters in a name, or None where it has several or none.

    >>> size_in_name("vicuna-33b-v1.3"), size_in_name("Mixtral-8x7B"), size_in_name("30B-A3B")
    (33000000000.0, None, None)
    """
    sizes = re.findall(r"(?<![\w.])([ax]?)(\d+(?:\.\d+)?)(x\d+)?([bm])\b", text.lower())
    if len(sizes) != 1 or sizes[0][0] or sizes[0][2] or re.search(r"\dx\d", text.lower()):
        return None
    return float(sizes[0][1]) * (1e9 if sizes[0][3] == "b" else 1e6)


def shape_of_size(params: float, *, kv_heads: int | None = None) -> ModelShape:
    """Return a shape with about ``params`` parameters.

    It is the nearest Llama with more or fewer layers, and with ``kv_heads`` key heads if given.

    >>> shape = shape_of_size(3.9e9)
    >>> round(shape.params / 3.9e9, 1)
    1.0
    """
    if not params > 0:
        raise ValueError(f"{params:g} parameters; a model has more than 0")
    family = (load_model(name) for name in list_models() if name.startswith(PATTERN_FAMILY))
    known = [shape for shape in family if shape.experts is None]
    nearest = min(known, key=lambda shape: abs(log(shape.params / params)))
    if kv_heads is not None:
        nearest = replace(nearest, kv_heads=kv_heads)
    outside = nearest.params - nearest.linear_params
    per_layer = nearest.linear_params / nearest.layers
    layers = max(1, round((params - outside) / per_layer))
    size = f"{params / 1e9:.3g}B parameters"
    return replace(nearest, name=size, title=f"a Llama of {size}", layers=layers)
