"""Number formats: a finite set of values with codes, as exact scalar Python.

The methods here are the definition and read like it; :mod:`numerics.arithmetic.cast` is their array
twin. A code is the stored bits read as an unsigned integer, so ``values[code]`` is its value, two's
complement formats included. :data:`numerics.formats.constants.FORMATS` has every named format.
"""

from numerics.formats.base import MAX_LISTED_BITS as MAX_LISTED_BITS
from numerics.formats.base import Format as Format
from numerics.formats.base import Real as Real
from numerics.formats.constants import BF16 as BF16
from numerics.formats.constants import E2M0 as E2M0
from numerics.formats.constants import E2M1 as E2M1
from numerics.formats.constants import E3M4 as E3M4
from numerics.formats.constants import E4M3 as E4M3
from numerics.formats.constants import E4M3_ALL as E4M3_ALL
from numerics.formats.constants import E4M3_IEEE as E4M3_IEEE
from numerics.formats.constants import E5M2 as E5M2
from numerics.formats.constants import E8M0 as E8M0
from numerics.formats.constants import FORMATS as FORMATS
from numerics.formats.constants import FP4_BNB as FP4_BNB
from numerics.formats.constants import FP16 as FP16
from numerics.formats.constants import FP32 as FP32
from numerics.formats.constants import INTEGERS as INTEGERS
from numerics.formats.constants import NF2 as NF2
from numerics.formats.constants import NF3 as NF3
from numerics.formats.constants import NF4 as NF4
from numerics.formats.constants import SCALE_DTYPES as SCALE_DTYPES
from numerics.formats.constants import TERNARY as TERNARY
from numerics.formats.floating import FloatFormat as FloatFormat
from numerics.formats.floating import Overflow as Overflow
from numerics.formats.floating import float_format as float_format
from numerics.formats.integer import IntFormat as IntFormat
from numerics.formats.power_of_two import PowerOfTwoFormat as PowerOfTwoFormat
from numerics.formats.table import TableFormat as TableFormat
