"""What is the number? Formats, rounding, scales, groups, packing and exact dot products."""

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
from numerics.formats import FloatFormat as FloatFormat
from numerics.formats import Format as Format
from numerics.formats import IntFormat as IntFormat
from numerics.formats import Overflow as Overflow
from numerics.formats import PowerOfTwoFormat as PowerOfTwoFormat
from numerics.formats import TableFormat as TableFormat
from numerics.packing import Order as Order
from numerics.packing import pack as pack
from numerics.packing import packed_bytes as packed_bytes
from numerics.packing import unpack as unpack
from numerics.scheme import PerChannel as PerChannel
from numerics.scheme import PerGroup as PerGroup
from numerics.scheme import PerTensor as PerTensor
from numerics.scheme import PerToken as PerToken
from numerics.scheme import ScaleRule as ScaleRule
from numerics.scheme import Scheme as Scheme
from numerics.scheme import StorageKind as StorageKind
from numerics.scheme import ZeroPoint as ZeroPoint
from numerics.tensor import QuantizedTensor as QuantizedTensor
from numerics.tensor import fake_quantize as fake_quantize
from numerics.tensor import quantize as quantize
from numerics.text import Role as Role
from numerics.text import parse_scheme as parse_scheme
from numerics.text import short_name as short_name

#: Raised whenever any numeric result changes; part of the key of every stored result.
VERSION = 1
