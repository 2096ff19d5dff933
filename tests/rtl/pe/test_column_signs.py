"""Signs with scales and offsets of inputs: arrays against the definition, and the circuit."""

from dataclasses import replace

import numpy as np
import pytest

import rtl.pe.column_signs.circuit
from numerics.pe.column_signs import column_sign_dot, column_sign_dots, integer_columns
from rtl.catalog import find_pe
from rtl.verification.compiled import CompiledPe

RANDOM = np.random.default_rng(4)
PE = replace(find_pe("binary-columns"), lanes=4)


def test_arrays_are_the_definition():
    bits = RANDOM.integers(0, 2, (3, 2, 7))
    numbers = RANDOM.integers(-128, 128, (3, 3, 7))
    found = column_sign_dots(bits, *numbers)
    for row, column in np.ndindex(found.shape):
        rows = (bits[row, column], *(each[row] for each in numbers))
        assert found[row, column] == column_sign_dot(*(each.tolist() for each in rows))


def test_columns_with_nan_or_infinity_are_refused():
    with pytest.raises(ValueError, match=r"^scales or offsets are NaN or infinite"):
        integer_columns(np.array([1.0]), np.array([np.nan]))


def sums_are_right():
    with CompiledPe(PE) as model:
        for operands in (PE.random(1000, seed=1), PE.corners()):
            if not np.array_equal(model.run(operands)[0], PE.golden(operands)):
                return False
    return True


@pytest.mark.slow
def test_the_circuit_gives_the_golden_sums_and_a_wrong_one_is_noticed(monkeypatch):
    assert sums_are_right()
    original = rtl.pe.column_signs.circuit.Mux
    monkeypatch.setattr(
        rtl.pe.column_signs.circuit, "Mux", lambda bit, one, other: original(bit, other, one)
    )
    assert not sums_are_right()
