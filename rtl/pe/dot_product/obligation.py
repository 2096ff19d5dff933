"""The obligation of the multiplier of two formats."""

from numerics.formats import Format
from rtl.arithmetic.products import reference_product
from rtl.element import Obligation
from rtl.pe.dot_product.circuit import ProductFactory


def product_obligation(product: ProductFactory, weights: Format, activations: Format) -> Obligation:
    """Return the obligation to equal the product of the decoded values, for every pair of codes."""
    return Obligation(
        what="product equals decoded values and *",
        circuit=lambda: product(weights, activations),
        reference=lambda: reference_product(weights, activations),
        input_bits=weights.bits + activations.bits,
    )
