"""Packing of VPTQ's index streams: published vectors, round trips and refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numerics.codebooks.vptq_packing import pack_indices, unpack_indices

INDICES = [1, 2, 3, 4095, 7, 8, 9, 10]


def as_hex(words):
    return [f"{word:08X}" for word in words]


# Vectors of codebooks_ternary_structured, section 2.4 (VP-1).
def test_vectors():
    plain = pack_indices(INDICES, bits=12)
    assert as_hex(plain) == ["03002001", "8007FFF0", "00A00900"]
    both = pack_indices(INDICES, bits=12, residuals=[5, 255, 0, 1, 2, 3, 4, 6], residual_bits=8)
    assert as_hex(both) == ["00205001", "F00003FF", "200701FF", "09030080", "0600A040"]


@given(st.data(), st.integers(1, 16), st.integers(0, 16), st.integers(1, 20))
def test_numbers_come_back(data, bits, residual_bits, count):
    def drawn(width):
        return data.draw(st.lists(st.integers(0, 2**width - 1), min_size=count, max_size=count))

    indices, residuals = drawn(bits), drawn(residual_bits)
    words = pack_indices(indices, bits=bits, residuals=residuals, residual_bits=residual_bits)
    found = unpack_indices(words, bits=bits, residual_bits=residual_bits, count=count)
    assert [part.tolist() for part in found] == [indices, residuals]
    stream = sum(
        (r << bits | i) << n * (bits + residual_bits)
        for n, (i, r) in enumerate(zip(indices, residuals, strict=True))
    )
    assert int.from_bytes(words.astype("<u4").tobytes(), "little") == stream


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"^index 4096 does not fit in 12 bits$"):
        pack_indices([1, 4096], bits=12)
    with pytest.raises(ValueError, match=r"up to 32 bits, not 20 and 13$"):
        pack_indices([1], bits=20, residual_bits=13)
    with pytest.raises(ValueError, match=r"^2 indices need as many residuals, not 1$"):
        pack_indices([1, 2], bits=4, residuals=[1], residual_bits=4)
    with pytest.raises(ValueError, match=r"^3 indices of 12 bits take 2 words, not 1$"):
        unpack_indices(np.zeros(1, np.uint32), bits=12, count=3)
