"""What is the number? Formats, rounding, scales, groups, packing and exact dot products.

Names are loaded when first used, so that describing a scheme doesn't import JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numerics.arithmetic.cast import decode as decode
    from numerics.arithmetic.cast import encode as encode
    from numerics.arithmetic.cast import round_to as round_to
    from numerics.arithmetic.packing import Order as Order
    from numerics.arithmetic.packing import pack as pack
    from numerics.arithmetic.packing import packed_bytes as packed_bytes
    from numerics.arithmetic.packing import unpack as unpack
    from numerics.dot import DotPlan as DotPlan
    from numerics.dot import grouped_dot as grouped_dot
    from numerics.dot import integers as integers
    from numerics.dot import plan_dot as plan_dot
    from numerics.dot_reference import reference_dot as reference_dot
    from numerics.formats import FloatFormat as FloatFormat
    from numerics.formats import Format as Format
    from numerics.formats import IntFormat as IntFormat
    from numerics.formats import Overflow as Overflow
    from numerics.formats import PowerOfTwoFormat as PowerOfTwoFormat
    from numerics.formats import TableFormat as TableFormat
    from numerics.names.catalog import CATALOG as CATALOG
    from numerics.names.catalog import FORMATS as FORMATS
    from numerics.names.catalog import SCHEMES as SCHEMES
    from numerics.names.text import Role as Role
    from numerics.names.text import parse_scheme as parse_scheme
    from numerics.names.text import short_name as short_name
    from numerics.schemes.element import ElementScheme as ElementScheme
    from numerics.schemes.element import ScaleRule as ScaleRule
    from numerics.schemes.element import ZeroPoint as ZeroPoint
    from numerics.schemes.granularity import PerChannel as PerChannel
    from numerics.schemes.granularity import PerGroup as PerGroup
    from numerics.schemes.granularity import PerTensor as PerTensor
    from numerics.schemes.granularity import PerToken as PerToken
    from numerics.schemes.scheme import Field as Field
    from numerics.schemes.scheme import Scheme as Scheme
    from numerics.schemes.scheme import StorageKind as StorageKind
    from numerics.schemes.tensor import QuantizedTensor as QuantizedTensor
    from numerics.schemes.tensor import fake_quantize as fake_quantize
    from numerics.schemes.tensor import quantize as quantize

#: Raised whenever any numeric result changes; part of the key of every stored result.
VERSION = 5

_MODULES = {
    "CATALOG": "numerics.names.catalog",
    "DotPlan": "numerics.dot",
    "ElementScheme": "numerics.schemes.element",
    "FORMATS": "numerics.names.catalog",
    "Field": "numerics.schemes.scheme",
    "FloatFormat": "numerics.formats",
    "Format": "numerics.formats",
    "IntFormat": "numerics.formats",
    "Order": "numerics.arithmetic.packing",
    "Overflow": "numerics.formats",
    "PerChannel": "numerics.schemes.granularity",
    "PerGroup": "numerics.schemes.granularity",
    "PerTensor": "numerics.schemes.granularity",
    "PerToken": "numerics.schemes.granularity",
    "PowerOfTwoFormat": "numerics.formats",
    "QuantizedTensor": "numerics.schemes.tensor",
    "Role": "numerics.names.text",
    "SCHEMES": "numerics.names.catalog",
    "ScaleRule": "numerics.schemes.element",
    "Scheme": "numerics.schemes.scheme",
    "StorageKind": "numerics.schemes.scheme",
    "TableFormat": "numerics.formats",
    "ZeroPoint": "numerics.schemes.element",
    "decode": "numerics.arithmetic.cast",
    "encode": "numerics.arithmetic.cast",
    "fake_quantize": "numerics.schemes.tensor",
    "grouped_dot": "numerics.dot",
    "integers": "numerics.dot",
    "pack": "numerics.arithmetic.packing",
    "packed_bytes": "numerics.arithmetic.packing",
    "parse_scheme": "numerics.names.text",
    "plan_dot": "numerics.dot",
    "quantize": "numerics.schemes.tensor",
    "reference_dot": "numerics.dot_reference",
    "round_to": "numerics.arithmetic.cast",
    "short_name": "numerics.names.text",
    "unpack": "numerics.arithmetic.packing",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'numerics' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
