import numpy as np
import pytest

from sim.sources.readers.bit_stream import pack_rows, unpack_rows, word_bytes


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("count", [1, 7, 32, 50])
def test_a_stream_is_a_number_whose_digits_are_the_codes(bits, count):
    codes = np.random.default_rng(bits).integers(0, 1 << bits, (3, count)).astype(np.uint8)
    stream = pack_rows(codes, bits)
    for row, found in zip(codes, stream, strict=True):
        number = sum(int(code) << (bits * place) for place, code in enumerate(row))
        assert int.from_bytes(found.tobytes(), "little") == number
    assert stream.shape[1] % 4 == 0
    np.testing.assert_array_equal(unpack_rows(stream, bits, count), codes)


def test_words_of_a_transposed_array_are_in_the_order_of_its_rows():
    words = np.arange(6, dtype=np.int32).reshape(2, 3).T
    assert word_bytes(words)[1].tolist() == [1, 0, 0, 0, 4, 0, 0, 0]
