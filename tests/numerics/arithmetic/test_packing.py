"""Packing of codes into bytes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numerics import pack, packed_bytes, unpack


def reference_pack(codes: list[int], bits: int, order: str) -> bytes:
    """The stream of bits written out as text."""
    if order == "high_first":
        text = "".join(f"{code:0{bits}b}" for code in codes)
        text += "0" * (-len(text) % 8)
        return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))
    number = sum(code << (bits * i) for i, code in enumerate(codes))
    return number.to_bytes(-(-bits * len(codes) // 8), "little")


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.data(), st.integers(1, 16), st.sampled_from(["low_first", "high_first"]))
def test_packing_equals_the_written_out_stream_and_comes_back(data, bits, order):
    codes = data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=40))
    packed = pack(np.array(codes, np.uint8 if bits <= 8 else np.uint16), bits=bits, order=order)
    assert packed.tobytes() == reference_pack(codes, bits, order)
    assert len(packed) == packed_bytes(len(codes), bits)
    assert unpack(packed, bits=bits, count=len(codes), order=order).tolist() == codes


def test_nibble_orders_are_those_of_torchao_and_bitsandbytes():
    codes = np.array([0x1, 0x2, 0x3], np.uint8)
    assert pack(codes, bits=4).tolist() == [0x21, 0x03]
    assert pack(codes, bits=4, order="high_first").tolist() == [0x12, 0x30]


def test_rows_follow_one_another():
    codes = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert np.array_equal(pack(codes, bits=3), pack(codes.reshape(-1), bits=3))


def test_codes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"^code 16 does not fit in 4 bits$"):
        pack(np.array([3, 16], np.uint8), bits=4)
    with pytest.raises(ValueError, match=r"^codes have 1 to 16 bits, not 17$"):
        pack(np.array([1], np.uint8), bits=17)


def test_a_wrong_number_of_bytes_is_refused():
    with pytest.raises(ValueError, match=r"^5 codes of 3 bits take 2 bytes, not 3$"):
        unpack(np.zeros(3, np.uint8), bits=3, count=5)
