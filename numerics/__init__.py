"""What is the number? Formats, rounding, scales, groups, packing and exact dot products.

Names are loaded when first used, so that describing a scheme doesn't import JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numerics.cast import decode as decode
    from numerics.cast import encode as encode
    from numerics.cast import round_to as round_to
    from numerics.catalog import CATALOG as CATALOG
    from numerics.catalog import FORMATS as FORMATS
    from numerics.catalog import SCHEMES as SCHEMES
    from numerics.dot import DotPlan as DotPlan
    from numerics.dot import grouped_dot as grouped_dot
    from numerics.dot import integers as integers
    from numerics.dot import plan_dot as plan_dot
    from numerics.dot_reference import reference_dot as reference_dot
    from numerics.element_scheme import ElementScheme as ElementScheme
    from numerics.element_scheme import ScaleRule as ScaleRule
    from numerics.element_scheme import ZeroPoint as ZeroPoint
    from numerics.formats import FloatFormat as FloatFormat
    from numerics.formats import Format as Format
    from numerics.formats import IntFormat as IntFormat
    from numerics.formats import Overflow as Overflow
    from numerics.formats import PowerOfTwoFormat as PowerOfTwoFormat
    from numerics.formats import TableFormat as TableFormat
    from numerics.granularity import PerChannel as PerChannel
    from numerics.granularity import PerGroup as PerGroup
    from numerics.granularity import PerTensor as PerTensor
    from numerics.granularity import PerToken as PerToken
    from numerics.packing import Order as Order
    from numerics.packing import pack as pack
    from numerics.packing import packed_bytes as packed_bytes
    from numerics.packing import unpack as unpack
    from numerics.scheme import Field as Field
    from numerics.scheme import Scheme as Scheme
    from numerics.scheme import StorageKind as StorageKind
    from numerics.tensor import QuantizedTensor as QuantizedTensor
    from numerics.tensor import fake_quantize as fake_quantize
    from numerics.tensor import quantize as quantize
    from numerics.text import Role as Role
    from numerics.text import parse_scheme as parse_scheme
    from numerics.text import short_name as short_name

#: Raised whenever any numeric result changes; part of the key of every stored result.
VERSION = 5

_MODULES = {
    "CATALOG": "numerics.catalog",
    "DotPlan": "numerics.dot",
    "ElementScheme": "numerics.element_scheme",
    "FORMATS": "numerics.catalog",
    "Field": "numerics.scheme",
    "FloatFormat": "numerics.formats",
    "Format": "numerics.formats",
    "IntFormat": "numerics.formats",
    "Order": "numerics.packing",
    "Overflow": "numerics.formats",
    "PerChannel": "numerics.granularity",
    "PerGroup": "numerics.granularity",
    "PerTensor": "numerics.granularity",
    "PerToken": "numerics.granularity",
    "PowerOfTwoFormat": "numerics.formats",
    "QuantizedTensor": "numerics.tensor",
    "Role": "numerics.text",
    "SCHEMES": "numerics.catalog",
    "ScaleRule": "numerics.element_scheme",
    "Scheme": "numerics.scheme",
    "StorageKind": "numerics.scheme",
    "TableFormat": "numerics.formats",
    "ZeroPoint": "numerics.element_scheme",
    "decode": "numerics.cast",
    "encode": "numerics.cast",
    "fake_quantize": "numerics.tensor",
    "grouped_dot": "numerics.dot",
    "integers": "numerics.dot",
    "pack": "numerics.packing",
    "packed_bytes": "numerics.packing",
    "parse_scheme": "numerics.text",
    "plan_dot": "numerics.dot",
    "quantize": "numerics.tensor",
    "reference_dot": "numerics.dot_reference",
    "round_to": "numerics.cast",
    "short_name": "numerics.text",
    "unpack": "numerics.packing",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'numerics' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
