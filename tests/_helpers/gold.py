"""Slow, independent reference of formats and schemes: numpy, float64 tables, true division.

It shares no code with the library and reads only the names and parameters of a scheme.
"""

import functools
from dataclasses import dataclass

import ml_dtypes
import numpy as np

#: Exponent bits, mantissa bits, bias and special codes of each format.
FLOATS = {
    "fp4_e2m1": (2, 1, 1, "none"),
    "fp6_e2m3": (2, 3, 1, "none"),
    "fp6_e3m2": (3, 2, 3, "none"),
    "fp8_e4m3": (4, 3, 7, "nan"),
    "fp8_e5m2": (5, 2, 15, "ieee"),
    "fp3_e2m0": (2, 0, 1, "none"),
    "fp4_e1m2": (1, 2, 0, "none"),
    "fp4_e3m0": (3, 0, 3, "none"),
    "fp5_e2m2": (2, 2, 1, "none"),
    "fp5_e3m1": (3, 1, 3, "none"),
    "fp8_e4m3_all": (4, 3, 7, "none"),
    "fp8_e4m3_ieee": (4, 3, 7, "ieee"),
    "fp8_e4m3fnuz": (4, 3, 8, "fnuz"),
    "fp8_e4m3b11fnuz": (4, 3, 11, "fnuz"),
    "fp8_e3m4": (3, 4, 3, "ieee"),
    "fp8_e5m2fnuz": (5, 2, 16, "fnuz"),
    "fp16": (5, 10, 15, "ieee"),
    "bf16": (8, 7, 127, "ieee"),
}
DTYPES = {
    "fp4_e2m1": ml_dtypes.float4_e2m1fn,
    "fp6_e2m3": ml_dtypes.float6_e2m3fn,
    "fp6_e3m2": ml_dtypes.float6_e3m2fn,
    "fp8_e4m3": ml_dtypes.float8_e4m3fn,
    "fp8_e5m2": ml_dtypes.float8_e5m2,
    "fp16": np.float16,
    "bf16": ml_dtypes.bfloat16,
}
MIN_NORMAL = np.float32(2.0**-126)
MAX_FLOAT32 = np.finfo(np.float32).max


@dataclass
class Quantized:
    """A tensor quantized by the reference."""

    codes: np.ndarray
    values: np.ndarray
    #: Scales in the array type that the library stores.
    scales: np.ndarray
    zero_points: np.ndarray | None = None
    minimums: np.ndarray | None = None
    tensor_scale: np.float32 | None = None


@functools.cache
def positive_values(name: str) -> np.ndarray:
    """Return the finite values of codes without sign, ascending, by the format's definition."""
    exponent_bits, mantissa_bits, bias, specials = FLOATS[name]
    count = 2 ** (exponent_bits + mantissa_bits)
    special_codes = {"none": 0, "fnuz": 0, "nan": 1, "ieee": 2**mantissa_bits}[specials]
    codes = np.arange(count - special_codes)
    field, mantissa = codes >> mantissa_bits, codes % 2**mantissa_bits
    fraction = mantissa / 2**mantissa_bits
    subnormal = fraction * 2.0 ** (1 - bias)
    return np.where(field == 0, subnormal, (1 + fraction) * 2.0 ** (field.astype(float) - bias))


def encode_float(name: str, x: np.ndarray) -> np.ndarray:
    """Return the codes of the nearest values, ties to even, saturated; inputs have no NaN."""
    values = positive_values(name)
    middles = (values[1:] + values[:-1]) / 2
    magnitude = np.abs(x.astype(np.float64))
    index = np.searchsorted(middles, magnitude, side="left")
    tie = (index < len(middles)) & (magnitude == middles[np.minimum(index, len(middles) - 1)])
    # Without mantissa bits every significand is odd: ties between powers of two round up.
    is_odd = (index % 2 == 1) | ((FLOATS[name][1] == 0) & (index > 0))
    index = index + (tie & is_odd)
    sign = np.signbit(x).astype(np.int64) << sum(FLOATS[name][:2])
    return np.where((index == 0) & (FLOATS[name][3] == "fnuz"), 0, index | sign)


def decode_float(name: str, codes: np.ndarray) -> np.ndarray:
    sign_bit = sum(FLOATS[name][:2])
    magnitude = positive_values(name)[codes & ((1 << sign_bit) - 1)]
    return np.where(codes >> sign_bit, -magnitude, magnitude)


def boundary_inputs(name: str) -> np.ndarray:
    """Return values, midpoints and overflows, each with three float32 neighbours on either side."""
    values = positive_values(name)
    step = values[-1] - values[-2]
    points = np.concatenate(
        [values, (values[1:] + values[:-1]) / 2, [values[-1] + step / 2, values[-1] + step]]
    )
    bits = points.astype(np.float32).view(np.int32)[:, None] + np.arange(-3, 4)
    positive = np.clip(bits, 0, 0x7F7FFFFF).astype(np.int32).view(np.float32).ravel()
    return np.concatenate([positive, -positive, np.float32([np.inf, -np.inf])])


def quantize(x: np.ndarray, scheme) -> Quantized:
    """Quantize float32 along the last axis."""
    size = {"tensor": x.size}.get(str(scheme.granularity), scheme.group_size or x.shape[-1])
    rows = x.reshape(1, -1) if str(scheme.granularity) == "tensor" else x.reshape(-1, x.shape[-1])
    tensor_scale = _tensor_scale(rows, scheme) if scheme.second_level else None
    with np.errstate(all="ignore"):
        parts = [
            _quantize_group(rows[:, start : start + size], scheme, tensor_scale)
            for start in range(0, rows.shape[1], size)
        ]
    lead = (1,) * (x.ndim - 1) if str(scheme.granularity) == "tensor" else x.shape[:-1]

    def along(field: str) -> np.ndarray | None:
        columns = [getattr(part, field) for part in parts]
        return None if columns[0] is None else np.stack(columns, 1).reshape(*lead, len(parts))

    return Quantized(
        codes=np.concatenate([p.codes for p in parts], 1).reshape(x.shape),
        values=np.concatenate([p.values for p in parts], 1).reshape(x.shape),
        scales=along("scales"),
        zero_points=along("zero_points"),
        minimums=along("minimums"),
        tensor_scale=tensor_scale,
    )


def flush(x: np.ndarray) -> np.ndarray:
    """Replace subnormal float32 numbers by zeros of their sign."""
    return np.where(np.abs(x) < MIN_NORMAL, np.copysign(np.float32(0), x), x).astype(np.float32)


def _quantize_group(x: np.ndarray, scheme, tensor_scale) -> Quantized:
    bad = ~np.isfinite(x).all(axis=1)
    if tensor_scale is not None:
        bad |= np.isnan(tensor_scale)
    clean = np.where(bad[:, None], np.float32(0), x)
    if scheme.scale_format.name == "e8m0":
        result = _quantize_mx(clean, scheme)
        result.scales = np.where(bad, np.uint8(255), result.scales.view(np.uint8))
        result.scales = result.scales.view(ml_dtypes.float8_e8m0fnu)
    else:
        quantizers = {"sym": _quantize_symmetric, "asym": _quantize_asym, "floatmin": _quantize_min}
        result = quantizers[str(scheme.zero_point)](flush(clean), scheme, tensor_scale)
        result.scales = np.where(bad, np.array(np.nan, result.scales.dtype), result.scales)
    result.codes = np.where(bad[:, None], 0, result.codes).astype(np.uint8)
    result.values = np.where(bad[:, None], np.float32(np.nan), result.values)
    return result


def _quantize_mx(x: np.ndarray, scheme) -> Quantized:
    exact = x.astype(np.float64)
    amax = np.abs(exact).max(axis=1)
    largest = element_max(scheme.element)
    exponent = np.frexp(amax)[1] - np.frexp(largest)[1]
    exponent = np.where(amax == 0, -127, np.clip(exponent, -127, 127))
    if str(scheme.rule) == "ceil":
        power = np.frexp(amax)[1] - 1
        above = amax > np.ldexp(1.0, power)
        ceiling = power + above - (np.frexp(largest)[1] - 1)
        exponent = np.where(amax == 0, -127, np.clip(ceiling, -127, 127))
    if str(scheme.rule) == "even":
        exponent = np.clip(_even_exponent(amax, scheme.element), -127, 127)
    if str(scheme.rule) == "rceil":
        exponent = np.minimum(exponent + (amax > largest * 2.0**exponent), 127)
    if str(scheme.rule) == "rfloor":
        exponent = exponent - (amax < largest * 2.0**exponent)
    if str(scheme.rule) == "rnearest":
        up, down = (np.float64(np.float32(largest * 2.0**half)) for half in (0.5, -0.5))
        exponent = exponent + (amax >= up * 2.0**exponent) - (amax < down * 2.0**exponent)
    exponent = np.clip(exponent, -127, 127)
    scale = 2.0 ** exponent.astype(np.float64)
    codes, values = round_element(scheme.element, exact / scale[:, None])
    return Quantized(
        codes=codes,
        values=(values * scale[:, None]).astype(np.float32),
        scales=(exponent + 127).astype(np.uint8).view(ml_dtypes.float8_e8m0fnu),
    )


def _even_exponent(amax: np.ndarray, element) -> np.ndarray:
    """Return the exponent of amax, rounded to the element's mantissa, minus the maximum's."""
    bits = FLOATS[element.name][1] if element.name in FLOATS else element.bits - 2
    significand, exponent = np.frexp(amax)
    carries = np.floor(significand * 2.0 ** (bits + 1) + 0.5) >= 2.0 ** (bits + 1)
    rounded = np.where(amax == 0, -(10**6), exponent + carries)
    return rounded - np.frexp(element_max(element))[1]


def _quantize_symmetric(x: np.ndarray, scheme, tensor_scale) -> Quantized:
    amax = np.abs(x).max(axis=1)
    half = np.float32(element_max(scheme.element))
    if scheme.element.name.endswith("_full"):
        half = half + np.float32(0.5)
    if str(scheme.rule) == "absmean":
        raw = pairwise_sum(np.abs(x)) / np.float32(x.shape[1])
    elif tensor_scale is not None:
        raw = amax / (half * tensor_scale)
    else:
        raw = amax / half
    scales = _stored(raw, amax == 0, scheme)
    divisor = scales.astype(np.float32) * (1 if tensor_scale is None else tensor_scale)
    codes, values = round_element(scheme.element, flush(x / divisor[:, None]))
    return Quantized(
        codes=codes, values=flush(values.astype(np.float32) * divisor[:, None]), scales=scales
    )


def _quantize_asym(x: np.ndarray, scheme, tensor_scale) -> Quantized:
    low = np.minimum(x.min(axis=1), np.float32(0))
    high = np.maximum(x.max(axis=1), np.float32(0))
    scales = _range_scale(low, high, scheme)
    divisor = scales.astype(np.float32)
    top = 2**scheme.element.bits - 1
    zeros = np.clip(np.rint(-low / divisor), 0, top)
    codes = np.clip(np.rint(x / divisor[:, None]) + zeros[:, None], 0, top)
    values = (codes - zeros[:, None]).astype(np.float32) * divisor[:, None]
    return Quantized(
        codes=codes, values=flush(values), scales=scales, zero_points=zeros.astype(np.uint8)
    )


def _quantize_min(x: np.ndarray, scheme, tensor_scale) -> Quantized:
    low, high = x.min(axis=1) + np.float32(0), x.max(axis=1)
    scales = _range_scale(low, high, scheme)
    divisor = scales.astype(np.float32)
    minimums = _to_scale_format(low, scheme)
    base = minimums.astype(np.float32)[:, None]
    codes = np.clip(np.rint(flush(x - base) / divisor[:, None]), 0, 2**scheme.element.bits - 1)
    codes = codes.astype(np.uint8)
    values = flush(flush(codes.astype(np.float32) * divisor[:, None]) + base)
    return Quantized(codes=codes, values=values, scales=scales, minimums=minimums)


def _range_scale(low: np.ndarray, high: np.ndarray, scheme) -> np.ndarray:
    spread = np.minimum(high - low, MAX_FLOAT32)
    return _stored(spread / np.float32(2**scheme.element.bits - 1), spread < MIN_NORMAL, scheme)


def _stored(raw: np.ndarray, is_zero: np.ndarray, scheme) -> np.ndarray:
    name = scheme.scale_format.name
    values = [MIN_NORMAL, MAX_FLOAT32] if name == "fp32" else positive_values(name)[[1, -1]]
    clipped = np.clip(raw, np.float32(max(values[0], MIN_NORMAL)), np.float32(values[1]))
    return _to_scale_format(np.where(is_zero, np.float32(1), clipped), scheme)


def _to_scale_format(x: np.ndarray, scheme) -> np.ndarray:
    name = scheme.scale_format.name
    if name == "fp32":
        return x.astype(np.float32)
    bits = np.uint8 if name == "fp8_e4m3" else np.uint16
    return encode_float(name, x).astype(bits).view(DTYPES[name])


def _tensor_scale(rows: np.ndarray, scheme) -> np.float32:
    amax = np.abs(rows).max()
    if not np.isfinite(amax):
        return np.float32(np.nan)
    if amax < MIN_NORMAL:
        return np.float32(1)
    largest = np.float32(element_max(scheme.element) * 448)
    return max(np.float32(amax) / largest, np.float32(2.0**-117))


def element_max(element) -> float:
    """Return the largest value of a format, looked up by its name."""
    if element.name in FLOATS:
        return float(positive_values(element.name)[-1])
    if hasattr(element, "table"):
        return max(element.table)
    return {"int8_q6": 127 / 64, "ternary": 1.0}.get(element.name, 2.0 ** (element.bits - 1) - 1)


def round_element(element, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes and values nearest to ``x``."""
    if element.name in FLOATS:
        codes = encode_float(element.name, x)
        return codes, decode_float(element.name, codes)
    if hasattr(element, "table"):
        index = _nearest_in_table(element, x)
        values = np.array(element.table)[index]
        return (_dint_codes(element, values) if "dint" in element.name else index), values
    unit = 1 / 64 if element.name == "int8_q6" else 1.0
    top = element_max(element) / unit
    lowest = -top - (1 if element.name.endswith("_full") else 0)
    integers = np.clip(np.rint(x / unit), lowest, top).astype(np.int64)
    return integers % 2**element.bits, integers * unit


def _dint_codes(element, values: np.ndarray) -> np.ndarray:
    """Return dINT codes: two's complement with +-1/2 for the largest and the least integer."""
    half = 1 << (element.bits - 1)
    integers = np.select([values == 0.5, values == -0.5], [half - 1, -half], values)
    return integers.astype(np.int64) % (2 * half)


def _nearest_in_table(element, x: np.ndarray) -> np.ndarray:
    """Return the indices of the nearest values, with the tie rule of the format's family."""
    table = np.array(element.table)
    if element.name == "pot4_log":
        positive = np.float32(np.sqrt(2.0) * 2.0 ** np.arange(-1, 6))
        middles = np.concatenate([-positive[::-1], positive])
    else:
        middles = ((table[1:] + table[:-1]) / 2).astype(np.float32)
    if element.name.startswith(("flint", "apot")) or element.name in ("pot3", "pot4", "pot5"):
        return np.searchsorted(middles, x, side="right")
    codes = np.searchsorted(middles, x, side="left")
    if element.name.startswith("dint"):
        # Ties go to the even integer; ties between 0, 1/2 and 1 never go to 1/2.
        at = np.minimum(codes, len(middles) - 1)
        above = table[np.minimum(codes + 1, len(table) - 1)]
        codes = codes + ((x == middles[at]) & (codes < len(middles)) & (above % 2 == 0))
        half_tie = np.isin(np.abs(x), [0.25, 0.75]) & (np.abs(table[codes]) == 0.5)
        towards = np.where(np.abs(x) == 0.75, np.sign(x), -np.sign(x)).astype(int)
        codes = np.where(half_tie, codes + towards, codes)
    return codes


def pairwise_sum(x: np.ndarray) -> np.ndarray:
    """Return the pairwise sum: padded to a power of two, the upper half is added to the lower."""
    width = 1 << (x.shape[1] - 1).bit_length()
    x = np.pad(x, ((0, 0), (0, width - x.shape[1])))
    while x.shape[1] > 1:
        half = x.shape[1] // 2
        x = x[:, :half] + x[:, half:]
    return x[:, 0]


def block_sets(shape: tuple[int, int] = (16, 288)) -> dict[str, np.ndarray]:
    """Return float32 tensors of one shape on which implementations have disagreed."""
    rng = np.random.default_rng(20240917)
    normal = rng.standard_normal(shape)
    exponents = rng.integers(-20, 21, (shape[0], shape[1] // 16, 1))
    spread = (normal.reshape(shape[0], -1, 16) * 2.0**exponents).reshape(shape)
    sets = {"random": normal, "exponents": spread, "bf16": spread.astype(ml_dtypes.bfloat16)}
    sets["powers of two"] = _with_amax(rng, shape, [1.0, 2.0, 8.0, 2.0**-100, 2.0**100])
    tops = [6, 7, 7.5, 28, 448, 464, 57344, 61440, 127, 127 / 64, 15, 3.5, 1.75, 1.9375, 496]
    sets["largest values"] = _with_amax(rng, shape, [t * 2.0**k for t in tops for k in (-3, 0, 5)])
    sets["ties"] = _ties(rng, shape)
    sets["ties of odd scales"] = _ties_of_odd_scales(rng, shape)
    sets["one huge"] = np.where(rng.random(shape) < 1 / 64, 1e4, 1e-4) * normal
    sets["zeros"] = np.where(np.arange(shape[1]) % 96 < 48, 0.0, normal)
    sets["zeros"][0] = 0.0
    sets["zeros"][1] = -0.0
    sets["zeros"][2, 5] = -0.0
    sets["all zero"] = np.zeros(shape)
    sets["tiny"] = normal * 2.0 ** rng.integers(-149, -110, (shape[0], 1)).astype(float)
    sets["huge"] = np.clip(normal / 4, -1, 1) * 2.0 ** rng.integers(124, 128, (shape[0], 1))
    sets["half subnormal"] = normal * 2.0 ** rng.integers(-26, -8, (shape[0], 1)).astype(float)
    sets["one sided"] = np.abs(normal) + np.where(np.arange(shape[0]) % 2, 5.0, 0.0)[:, None]
    sets["constant"] = np.broadcast_to(rng.standard_normal((shape[0], 1)), shape)
    sets["specials"] = normal.copy()
    for row, value in enumerate([np.nan, np.inf, -np.inf, -np.nan]):
        sets["specials"][row, 40 * row] = value
    sets["specials"][4, :2] = np.nan, np.inf
    return {name: np.ascontiguousarray(x, np.float32) for name, x in sets.items()}


def _with_amax(rng, shape: tuple[int, int], values: list[float]) -> np.ndarray:
    """Return blocks of 16 whose largest magnitude is one of ``values`` or a float32 neighbour."""
    targets = np.float32(values)
    targets = np.concatenate(
        [targets, np.nextafter(targets, np.float32(0)), np.nextafter(targets, np.float32(np.inf))]
    )
    blocks = np.float32(rng.uniform(-1, 1, (shape[0], shape[1] // 16, 16)))
    chosen = rng.choice(targets, blocks.shape[:2])
    blocks = blocks * chosen[..., None]
    blocks[..., 3] = np.where(rng.random(blocks.shape[:2]) < 0.5, chosen, -chosen)
    return blocks.reshape(shape)


def _ties(rng, shape: tuple[int, int]) -> np.ndarray:
    """Return midpoints of adjacent values, in blocks with a power-of-two scale in some scheme."""
    rows = []
    for index in range(shape[0]):
        name = list(FLOATS)[index % 5]
        values = positive_values(name)
        middles = (values[1:] + values[:-1]) / 2
        row = rng.choice(np.concatenate([middles, np.arange(8) - 3.5]), shape[1])
        row[::16] = rng.choice([values[-1], 7, 127, 2.0 ** np.floor(np.log2(values[-1]))])
        rows.append(row * rng.choice([-1, 1], shape[1]) * 2.0 ** rng.integers(-4, 5))
    return np.array(rows)


def _ties_of_odd_scales(rng, shape: tuple[int, int]) -> np.ndarray:
    """Return rows of exact ties for an FP16 scale whose reciprocal has a large rounding error.

    Multiplying by the float32 reciprocal instead of dividing misses the tie.
    """
    every = (np.arange(1024, 2048) / 2048).astype(np.float16).astype(np.float64)
    error = np.abs(every * (1 / every).astype(np.float32) - 1)
    scales = every[np.argsort(error)[: -shape[0] - 1 : -1], None]
    tops = np.resize([7, 127, 6, 7.5], shape[0])[:, None]
    units = rng.integers(-2 * tops.astype(int), 2 * tops.astype(int), shape) / 2
    units[:, ::16] = np.broadcast_to(tops, (shape[0], shape[1] // 16))
    return units * scales
