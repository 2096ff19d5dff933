"""What is the number? Formats, rounding, scales, groups, packing and exact dot products.

Names are loaded when first used, so that describing a scheme doesn't import JAX.
"""

from typing import TYPE_CHECKING

from numerics.lazy import attach

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
    from numerics.formats import FORMATS as FORMATS
    from numerics.formats import FloatFormat as FloatFormat
    from numerics.formats import Format as Format
    from numerics.formats import IntFormat as IntFormat
    from numerics.formats import Overflow as Overflow
    from numerics.formats import PowerOfTwoFormat as PowerOfTwoFormat
    from numerics.formats import TableFormat as TableFormat
    from numerics.names.catalog import CATALOG as CATALOG
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
else:
    __getattr__, __dir__ = attach(__name__, __file__)

#: Raised whenever any numeric result changes; part of the key of every stored result.
VERSION = 5
