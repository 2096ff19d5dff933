"""Whether rows depend on one another: the property ``mixes_rows`` against an experiment.

Rows are tokens in activations and caches, where a token must not depend on later ones.
"""

import jax.numpy as jnp
import numpy as np
import pytest

from numerics import SCHEMES, fake_quantize, parse_scheme, quantize

#: Text forms of every kind of granularity, second level and static scale, in the role of a cache.
TEXTS = (
    "int8", "int8:tensor", "int8:channel", "int8:g32", "int8:scale=0.05", "int4:tensor:asym",
    "int4:tensor:floatmin", "int8:tensor:e8m0", "fp8_e4m3", "fp8_e4m3:tensor", "fp8_e4m3:scale=1",
    "fp8_e5m2:tensor:bf16", "nf4:tensor", "table(-1,0,0.5,2):tensor", "mxfp4", "mxfp8_e4m3:rceil",
    "nvfp4", "nvfp4:token", "nvfp4:scale=0.0005", "nvfp4-ct", "nvfp4-modelopt", "nvfp4-torchao",
    "fp4_e2m1:g32:e4m3:two-level", "fp4_e2m1:g32:e4m3:two-level:token", "ternary:tensor",
)  # fmt: skip
MIXING = {
    "int8:tensor", "int4:tensor:asym", "int4:tensor:floatmin", "int8:tensor:e8m0",
    "fp8_e4m3:tensor", "fp8_e5m2:tensor:bf16", "nf4:tensor", "table(-1,0,0.5,2):tensor", "nvfp4",
    "nvfp4-ct", "nvfp4-modelopt", "nvfp4-torchao", "fp4_e2m1:g32:e4m3:two-level", "ternary:tensor",
}  # fmt: skip
EARLIER, LATER, COLUMNS = 8, 56, 256
#: Codebooks that take minutes to train and have the structure of other AQLM and VPTQ schemes.
LONG = ("aqlm-1x16", "vptq-v6-k4096-0-o1-v4-k4096")
#: Changes that can poison or widen a shared statistic.
SPECIALS = (np.nan, np.inf, 1e30)


def depends_on_later_rows(scheme) -> bool:
    """Whether some change of the later rows changes the values of the earlier ones."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((EARLIER + LATER, COLUMNS)).astype(np.float32)
    spread = np.float32([2.0**k for k in range(-3, 4)])
    others = [
        3 * rng.standard_normal((LATER, COLUMNS)),
        rng.choice([-1, 1], (LATER, COLUMNS)) * rng.choice(spread, (LATER, COLUMNS)) * 9,
        9 * rng.uniform(-1, 1, (LATER, COLUMNS)),
        np.full((LATER, COLUMNS), 1e-3),
        *(np.full((LATER, COLUMNS), special) for special in SPECIALS),
    ]
    if not scheme.is_exact:
        others = others[:4]
    first = earlier_values(x, scheme)
    changed = (np.concatenate([x[:EARLIER], other]).astype(np.float32) for other in others)
    return any(not np.array_equal(first, earlier_values(y, scheme)) for y in changed)


def earlier_values(x: np.ndarray, scheme) -> np.ndarray:
    return np.asarray(fake_quantize(jnp.asarray(x), scheme))[:EARLIER].view(np.uint32)


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_form_says_whether_tokens_depend_on_later_ones(text):
    scheme = parse_scheme(text, role="kv")
    assert scheme.mixes_rows == (text in MIXING) == depends_on_later_rows(scheme)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SCHEMES if name not in LONG])
def test_a_named_scheme_says_whether_rows_depend_on_one_another(name):
    assert SCHEMES[name].mixes_rows == depends_on_later_rows(SCHEMES[name])


def test_named_schemes_with_arrays_for_all_rows_mix_them():
    mixing = {name for name, scheme in SCHEMES.items() if scheme.mixes_rows}
    assert {*LONG, "nvfp4", "nvfp4-ct", "nf4-dq", "llm-fp4", "spqr-3", "fbi-binary"} <= mixing
    assert not {"int8", "mxfp4", "nf4-bnb", "kmeans4", "e8p", "q8_0", "bitnet-int8"} & mixing


@pytest.mark.parametrize("text", sorted(MIXING))
def test_the_alternatives_of_a_scheme_do_not_mix_rows(text):
    for other in parse_scheme(text, role="kv").alternatives:
        assert not parse_scheme(other.replace("<number>", "0.5"), role="kv").mixes_rows


def test_a_token_s_second_level_is_that_of_the_token_alone():
    x = np.random.default_rng(1).standard_normal((3, 5, 64)).astype(np.float32)
    x *= np.float32([1, 30, 1e-3])[:, None, None]
    q = quantize(x, parse_scheme("nvfp4:token"))
    assert q.tensor_scale.shape == (3, 5, 1)
    alone = [[quantize(row[None], SCHEMES["nvfp4"]) for row in rows] for rows in x]
    for name, array in q.arrays.items():
        parts = [[np.asarray(one.arrays[name]).reshape(-1) for one in ones] for ones in alone]
        assert np.array_equal(np.asarray(array).reshape(3, 5, -1), np.array(parts))
    assert np.array_equal(fake_quantize(x, q.scheme), q.dequantize())
    assert q.bits_per_weight() == 4 + 8 / 16 + 32 / 64


@pytest.mark.parametrize("element", ["int8", "int4", "fp8_e4m3", "fp4_e2m1", "nf4"])
def test_a_static_scale_divides_rounds_and_saturates(element):
    scheme = parse_scheme(f"{element}:scale=0.05")
    scale, fmt = np.float32(0.05), scheme.element
    x = np.float32([[0.0, 0.1, -0.33, 1.0, 1e-45, 400.0, -1e30, np.inf, -np.inf, np.nan]])
    q = quantize(x, scheme)
    clean = np.where(np.isnan(x), np.float32(0), x)
    ratio = np.clip(clean / scale, fmt.min, fmt.max)
    expected = np.float32([fmt.decode(fmt.encode(float(r))) for r in ratio[0]]) * scale
    assert np.array_equal(np.asarray(q.dequantize())[0], expected)
    assert np.array_equal(fake_quantize(x, scheme), q.dequantize())
    assert q.scales.tolist() == [[scale]] and q.scheme.static_scale == scale


def test_a_static_second_level_equals_the_dynamic_one_of_the_same_value():
    x = np.random.default_rng(2).standard_normal((4, 64)).astype(np.float32)
    dynamic = quantize(x, SCHEMES["nvfp4"])
    static = quantize(x, parse_scheme(f"nvfp4:scale={float(dynamic.tensor_scale)!r}"))
    assert all(np.array_equal(dynamic.arrays[n], static.arrays[n]) for n in dynamic.arrays)
    assert np.array_equal(static.dequantize(), dynamic.dequantize())


TEXT_FORMS = [
    ("nvfp4:token", "nvfp4:token"), ("nvfp4:tensor", "nvfp4"),
    ("nvfp4:scale=0.0005", "nvfp4:scale=0.0005"),
    ("int8:scale=5e-2", "int8:tensor:fp32:scale=0.05"),
    ("fp8_e4m3:scale=1", "fp8_e4m3:tensor:fp32:scale=1"),
    ("fp4_e2m1:token:g32:e4m3:two-level", "fp4_e2m1:g32:e4m3:two-level:token"),
]  # fmt: skip


@pytest.mark.parametrize("role", ["weight", "activation", "kv"])
@pytest.mark.parametrize(("text", "name"), TEXT_FORMS)
def test_second_levels_and_static_scales_have_text_forms(text, name, role):
    scheme = parse_scheme(text, role=role)
    assert scheme.name == name and parse_scheme(name, role=role) == scheme


BEFOREHAND = (
    "a scale given beforehand is one float32 for the tensor, absmax and without zero point, as in "
    "int8:scale=0.05 or nvfp4:scale=0.0005"
)
REFUSED = {
    "int8:channel:scale=0.1": BEFOREHAND,
    "int4-asym:scale=1": BEFOREHAND,
    "nvfp4:token:scale=1": BEFOREHAND,
    "int8:scale=-1": "'-1' in 'int8:scale=-1' is not a positive number; as in scale=0.05",
    "int8:scale=": "'' in 'int8:scale=' is not a positive number; as in scale=0.05",
    "int8:scale=1e-44": (
        "a scale given beforehand is a number from 1.18e-38 to 3.4e+38, not 9.80909e-45"
    ),
    "int8:scale=1:scale=2": "'int8:scale=1:scale=2' gives its static scale twice",
}


@pytest.mark.parametrize(("text", "message"), REFUSED.items())
def test_static_scales_that_do_not_fit_are_refused(text, message):
    with pytest.raises(ValueError) as refusal:
        parse_scheme(text)
    assert str(refusal.value) == message
