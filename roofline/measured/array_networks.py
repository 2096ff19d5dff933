"""The products of a network that a row names: layers of a table, or one token of an LLM."""

import csv
from collections.abc import Callable
from functools import cache
from pathlib import Path

from hw.accelerator import load_accelerator
from roofline.accelerator.array_product import ArrayProduct
from roofline.accelerator.model import WeightBits, model_gemms
from roofline.model.model_names import find_model

NETWORKS = Path(__file__).parent / "networks.csv"
#: Accelerator whose products are those of a model, of INT8 operands; its PEs play no part.
PLAIN = "int8-28nm"


def network_products(
    name: str, *, batch: int, context: int, read: Callable[[dict[str, str]], ArrayProduct]
) -> tuple[ArrayProduct, ...]:
    """Return the products of a network.

    Those of a network of ``networks.csv`` have ``batch`` times the rows. Any other name is that of
    a language model, which generates one token for each of ``batch`` sequences of ``context``
    tokens: linear layers, lm_head and attention. ``read`` makes a product of a row.

    Raises
    ------
    ValueError
        The name is neither.
    """
    known = _layers(read)
    if name in known:
        return tuple(
            ArrayProduct(
                m=one.m * batch,
                k=one.k,
                n=one.n,
                count=one.count,
                taps=one.taps,
                inputs_per_output=one.inputs_per_output,
                added=one.added,
            )
            for one in known[name]
        )
    shape = find_model(name)
    if shape is None:
        raise ValueError(f"unknown network {name!r}; a model, or one of {', '.join(known)}")
    gemms = model_gemms(
        shape,
        WeightBits(code_bits=8),
        load_accelerator(PLAIN),
        tokens=1,
        context=context,
        batch=batch,
        kv_bits=8,
    )
    return tuple(
        ArrayProduct(m=one.tokens, k=one.inputs, n=one.outputs, count=one.count) for one in gemms
    )


@cache
def _layers(read: Callable[[dict[str, str]], ArrayProduct]) -> dict[str, list[ArrayProduct]]:
    found: dict[str, list[ArrayProduct]] = {}
    with NETWORKS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["network"], []).append(read(row))
    return found
