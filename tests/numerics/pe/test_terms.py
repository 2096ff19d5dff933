"""Term generators: the sums of terms, the limits of formats, and published digits."""

import numpy as np
import pytest

from numerics import FORMATS, SCHEMES
from numerics.formats import TableFormat
from numerics.mixtures.selected import SelectedFormat
from numerics.pe.terms import BoothTerms, WindowTerms, term_tables

#: Published digits of radix-4 Booth recoding: format, value, digits from the lowest.
DIGITS = [
    ("int8", -128, [0, 0, 0, -2]),
    ("int8", -108, [0, 1, 1, -2]),
    ("int8", -1, [-1, 0, 0, 0]),
    ("int8", 37, [1, 1, -2, 1]),
    ("int8", 127, [-1, 0, 0, 2]),
    ("int6", -32, [0, 0, -2]),
    ("int6", -31, [1, 0, -2]),
    ("int6", -5, [-1, -1, 0]),
    ("int6", 13, [1, -1, 1]),
    ("int6", 31, [-1, 0, 2]),
]


def bitmod(bits):
    name = f"bitmod-fp{bits}"
    return SelectedFormat(name=name, candidates=SCHEMES[name].formats)


GENERATORS = [BoothTerms(FORMATS[f"int{bits}"]) for bits in (8, 6, 5, 4, 3)] + [
    WindowTerms(fmt) for fmt in (bitmod(4), bitmod(3), FORMATS["fp4_e2m1"])
]


@pytest.mark.parametrize("generator", GENERATORS, ids=lambda g: g.weights.name)
def test_terms_of_every_code_make_its_value(generator):
    fmt = generator.weights
    signs, exponents = term_tables(generator)
    sums = (signs << exponents << np.array(generator.significances)[:, None]).sum(axis=0)
    assert sums.shape == (2**fmt.bits,) and signs.shape == (generator.cycles, 2**fmt.bits)
    for code in range(2**fmt.bits):
        terms = generator.terms(code)
        assert sum(term.value for term in terms) * generator.unit == fmt.decode(code)
        assert sums[code] * generator.unit == fmt.decode(code)
        assert tuple(term.significance for term in terms) == generator.significances
    assert exponents.max() <= generator.most_exponent and exponents.min() == 0


@pytest.mark.parametrize("name,value,digits", DIGITS)
def test_booth_digits(name, value, digits):
    fmt = FORMATS[name]
    terms = BoothTerms(fmt).terms(value % 2**fmt.bits)
    assert [term.value >> term.significance for term in terms] == digits


def test_cycles_a_weight():
    cycles = [(g.weights.name, g.cycles) for g in GENERATORS]
    assert cycles == [
        ("int8", 4),
        ("int6", 3),
        ("int5", 3),
        ("int4", 2),
        ("int3", 2),
        ("bitmod-fp4", 2),
        ("bitmod-fp3", 2),
        ("fp4_e2m1", 2),
    ]


def test_the_low_window_does_not_see_what_the_high_one_took():
    terms = [WindowTerms(FORMATS["fp4_e2m1"]).terms(code) for code in range(8)]
    # Magnitudes 0, 0.5, 1, 1.5, 2, 3, 4 and 6 in units of 1/2.
    assert [(low.value, high.value) for low, high in terms] == [
        (0, 0),
        (1, 0),
        (0, 2),
        (1, 2),
        (0, 4),
        (2, 4),
        (0, 8),
        (4, 8),
    ]


@pytest.mark.parametrize("value", [7.0, 16.0, 5.5])
def test_values_of_more_terms_are_refused(value):
    with pytest.raises(ValueError, match=f"^odd has the value {value:g}; windows hold"):
        WindowTerms(TableFormat(name="odd", table=(0.0, value)))


def test_other_units_and_formats_are_refused():
    with pytest.raises(ValueError, match=r"^the values of quarter are not multiples of 1/2$"):
        WindowTerms(TableFormat(name="quarter", table=(0.0, 0.25)))
    for name in ("fp4_e2m1", "uint4"):
        with pytest.raises(
            ValueError, match=f"^Booth digits need a two's complement format, not {name}"
        ):
            BoothTerms(FORMATS[name])
