"""The GGUF schemes: storage, refusals, published vectors."""

import hashlib

import jax.numpy as jnp
import numpy as np
import pytest

from numerics import quantize
from numerics.gguf.entries import ENTRIES
from numerics.gguf.planes import byte_of_trits
from numerics.gguf.scheme import GgufScheme
from numerics.schemes.storage import from_bytes, to_bytes

SCHEMES = {name: scheme for name, (scheme, _) in ENTRIES.items()}
#: Bits per weight of the codes and of all arrays, from the specification's table.
BITS = {
    "q4_0": (4, 4.5), "q4_1": (4, 5), "q5_0": (5, 5.5), "q5_1": (5, 6), "q8_0": (8, 8.5),
    "tq1_0": (1.6, 1.6875), "tq2_0": (2, 2.0625),
    "q2_k": (2, 2.625), "q3_k": (3, 3.4375), "q4_k": (4, 4.5), "q5_k": (5, 5.5),
    "q6_k": (6, 6.5625), "iq4_nl": (4, 4.5), "iq4_xs": (4, 4.25), "mxfp4-gguf": (4, 4.25),
}  # fmt: skip


def test_bits_per_weight():
    kinds = ("index", "full", "stored")
    found = {
        name: [scheme.bits_per_weight((3, 512), kind=kind) for kind in kinds]
        for name, scheme in SCHEMES.items()
    }
    assert found == {name: [index, full, full] for name, (index, full) in BITS.items()}


def test_names_are_those_of_the_entries():
    assert {scheme.name: name for name, scheme in SCHEMES.items()} == {n: n for n in BITS}


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_stored_bytes_are_the_blocks_and_come_back(scheme):
    blocks = np.arange(2 * 256 // scheme.group_size * scheme.block_type.size).astype(np.uint8)
    q = from_bytes(scheme, (2, 256), {"blocks": blocks})
    assert to_bytes(q)["blocks"].tobytes() == blocks.tobytes()
    assert q.arrays["blocks"].shape == scheme.layout((2, 256))[0].shape


def test_rows_are_whole_blocks():
    message = "^q4_0 stores rows of whole blocks of 32 values, not rows of 40$"
    with pytest.raises(ValueError, match=message):
        quantize(jnp.zeros((2, 40)), SCHEMES["q4_0"])


def test_blocks_have_one_size():
    assert SCHEMES["q4_0"].with_group_size(32) == SCHEMES["q4_0"]
    with pytest.raises(ValueError, match=r"^q4_0 is defined with blocks of 32, not 64$"):
        SCHEMES["q4_0"].with_group_size(64)
    with pytest.raises(ValueError, match=r"^'q9_0' is not one of q4_0, q4_1, "):
        GgufScheme(type_name="q9_0")


def ternary_hex(name: str, x: np.ndarray) -> str:
    q = quantize(x.astype(np.float32).reshape(1, 256), SCHEMES[name])
    return np.asarray(q.arrays["blocks"]).tobytes().hex()


# codebooks_ternary_structured, section 4.7
def test_ternary_vectors():
    x = 0.5 * (np.arange(256) % 3 - 1)
    tq1_0 = "456ccf" * 10 + "456c" + "94bb31" * 5 + "94" + "3092bb30" + "0038"
    assert ternary_hex("tq1_0", x) == tq1_0
    assert ternary_hex("tq2_0", x) == ("186186" * 22)[:128] + "0038"


@pytest.mark.parametrize(
    ("value", "tq1", "high", "tq2", "d"),
    [(-1, "00", "00", "00", "003c"), (0, "80", "7f", "55", "0000"), (1, "ff", "fd", "aa", "003c")],
)
def test_ternary_vectors_of_constants(value, tq1, high, tq2, d):
    x = np.full(256, value)
    assert ternary_hex("tq1_0", x) == tq1 * 48 + high * 4 + d
    assert ternary_hex("tq2_0", x) == tq2 * 64 + d


@pytest.mark.parametrize(
    ("name", "sha256"),
    [
        ("tq1_0", "b8113666884184f76dda7e8e4d23d6106436bb10e261e7a0a7846a937eaff9e0"),
        ("tq2_0", "869e83513f72968fabf07a4b270246856007374c5b2a2526a40a5b5480412d44"),
    ],
)
def test_ternary_vectors_of_random_trits(name, sha256):
    x = np.random.RandomState(0).randint(-1, 2, 256) * 0.75
    assert hashlib.sha256(bytes.fromhex(ternary_hex(name, x))).hexdigest() == sha256


def test_every_number_of_five_trits_comes_back():
    places = (81, 27, 9, 3, 1)
    for number in range(243):
        digits = [number // place % 3 for place in places]
        byte = byte_of_trits(digits)
        assert [(byte * 3**n % 256) * 3 >> 8 for n in range(5)] == digits
        assert byte == {0: 0, 1: 2, 121: 128, 242: 255}.get(number, byte)
