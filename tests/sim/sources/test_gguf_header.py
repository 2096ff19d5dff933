import struct
import tracemalloc

import numpy as np
import pytest

from sim.errors import UserError
from sim.sources.gguf_header import read_header


def text(value: bytes | str) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def header(*, version=3, tensors=0, values=0, body=b"", magic=b"GGUF") -> bytes:
    return magic + struct.pack("<IQQ", version, tensors, values) + body


def entry(name="t", shape=(32,), kind=0, offset=0) -> bytes:
    dims = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + dims + struct.pack("<IQ", kind, offset)


def value(key, kind, raw) -> bytes:
    return text(key) + struct.pack("<I", kind) + raw


STRINGS = struct.pack("<I", 8)
PADDING = bytes(300)

#: File content: what is wrong with it.
BAD = {
    "empty": (b"", "magic of 4 bytes at byte 0 does not fit in the file"),
    "other": (b"PK\3\4" + PADDING, "it does not start with the letters GGUF"),
    "v1": (
        header(version=1) + PADDING,
        "it has version 1; versions 2 and 3, little-endian, are supported",
    ),
    "big-endian": (
        header(version=3 << 24) + PADDING,
        "it is big-endian; versions 2 and 3, little-endian, are supported",
    ),
    "tensor count": (header(tensors=2**63) + PADDING, f"{2**63} tensors do not fit in the file"),
    "value count": (
        header(values=2**62) + PADDING,
        f"{2**62} metadata values do not fit in the file",
    ),
    "cut": (
        header(values=1)[:-4],
        "number of metadata values of 8 bytes at byte 16 does not fit in the file",
    ),
    "key length": (
        header(values=1, body=struct.pack("<Q", 2**64 - 1)) + PADDING,
        f"metadata key of {2**64 - 1} bytes at byte 32 does not fit in the file",
    ),
    "key bytes": (
        header(values=1, body=value(b"\xff", 4, b"1234")) + PADDING,
        "metadata key before byte 33 is not UTF-8",
    ),
    "key newline": (
        header(values=1, body=value("a\nb", 4, b"1234")) + PADDING,
        "metadata key before byte 35 is not a printable name",
    ),
    "twice": (
        header(values=2, body=value("a", 4, b"1234") * 2) + PADDING,
        "metadata key a occurs twice",
    ),
    "type": (header(values=1, body=value("a", 99, b"")) + PADDING, "a has the unknown type 99"),
    "array count": (
        header(values=1, body=value("a", 9, STRINGS + struct.pack("<Q", 2**60))) + PADDING,
        f"{2**60} strings in a do not fit in the file",
    ),
    "number count": (
        header(values=1, body=value("a", 9, struct.pack("<IQ", 4, 2**60))) + PADDING,
        f"{2**60} values in a do not fit in the file",
    ),
    "nested": (
        header(values=1, body=value("a", 9, struct.pack("<IQ", 9, 1))) + PADDING,
        "a is an array of the unknown or nested type 9",
    ),
    "dimensions": (
        header(tensors=1, body=entry(shape=(1,) * 5)) + PADDING,
        "tensor t has 5 dimensions, not 1 to 4",
    ),
    "no elements": (
        header(tensors=1, body=entry(shape=(32, 0))) + PADDING,
        "tensor t of shape 0x32 is not rows of F32 blocks",
    ),
    "split block": (
        header(tensors=1, body=entry(shape=(33, 2), kind=3)) + PADDING,
        "tensor t of shape 2x33 is not rows of Q4_1 blocks",
    ),
    "vector of blocks": (
        header(tensors=1, body=entry(shape=(32,), kind=3)) + PADDING,
        "tensor t of shape 32 is not rows of Q4_1 blocks",
    ),
    "tensor type": (
        header(tensors=1, body=entry(kind=999)) + PADDING,
        "tensor t has the unknown type 999",
    ),
    "huge tensor": (
        header(tensors=1, body=entry(shape=(2**63,) * 4)) + PADDING,
        f"tensor t ends at byte {96 + 4 * 2**252}, the file has 381; it is cut short or damaged",
    ),
    "far offset": (
        header(tensors=1, body=entry(offset=2**63)) + PADDING,
        f"tensor t ends at byte {192 + 2**63}, the file has 357; it is cut short or damaged",
    ),
    "overlap": (
        header(tensors=2, body=entry("a") + entry("b", offset=64)) + PADDING,
        "tensor b occurs twice or overlaps another",
    ),
    "same name": (
        header(tensors=2, body=entry("a") + entry("a", offset=128)) + PADDING,
        "tensor a occurs twice or overlaps another",
    ),
    "alignment": (
        header(values=1, body=value("general.alignment", 4, struct.pack("<I", 24))) + PADDING,
        "general.alignment is not a power of two",
    ),
    "alignment type": (
        header(values=1, body=value("general.alignment", 7, b"\1")) + PADDING,
        "general.alignment is not a power of two",
    ),
}


@pytest.mark.parametrize("name", list(BAD))
def test_a_bad_header_is_one_line(tmp_path, name):
    raw, reason = BAD[name]
    path = tmp_path / "x.gguf"
    path.write_bytes(raw)
    with pytest.raises(UserError) as caught:
        read_header(path)
    assert str(caught.value) == f"{path} is not a readable GGUF file: {reason}"


def test_scalars_strings_and_arrays_read_as_written(tmp_path):
    body = b"".join(
        [
            value("u8", 0, b"\xff"),
            value("i16", 3, struct.pack("<h", -2)),
            value("f32", 6, struct.pack("<f", 0.5)),
            value("yes", 7, b"\1"),
            value("u64", 10, struct.pack("<Q", 2**64 - 1)),
            value("s", 8, text("Ġthe")),
            value("strings", 9, STRINGS + struct.pack("<Q", 2) + text("a") + text("")),
            value("numbers", 9, struct.pack("<IQ3i", 5, 3, 1, -2, 3)),
        ]
    )
    path = tmp_path / "x.gguf"
    path.write_bytes(header(values=8, body=body))
    metadata = dict(read_header(path).metadata)
    assert metadata.pop("numbers").tolist() == [1, -2, 3]
    assert metadata == {
        "u8": 255,
        "i16": -2,
        "f32": 0.5,
        "yes": True,
        "u64": 2**64 - 1,
        "s": "Ġthe",
        "strings": ["a", ""],
    }
    assert metadata["yes"] is True


def test_version_2_and_other_alignments_are_read(tmp_path):
    align = value("general.alignment", 4, struct.pack("<I", 128))
    body = align + entry(shape=(2, 3))
    start = -(-len(header(body=body)) // 128) * 128
    data = np.arange(6, dtype=np.float32).tobytes()
    path = tmp_path / "x.gguf"
    path.write_bytes(header(version=2, tensors=1, values=1, body=body).ljust(start, b"\0") + data)
    tensor = read_header(path).tensors["t"]
    assert (tensor.shape, tensor.offset, tensor.size) == ((3, 2), start, 24)


def test_a_header_beyond_the_limit_is_refused_without_reading_it(tmp_path):
    path = tmp_path / "x.gguf"
    count = struct.pack("<Q", 2**27)
    with path.open("wb") as file:
        file.write(header(values=1, body=value("a", 9, struct.pack("<I", 0) + count)))
        file.truncate(2**28)  # sparse: no disk is used
    tracemalloc.start()
    with pytest.raises(
        UserError, match=f"^{path} is not a readable GGUF file: {2**27} values in a"
    ):
        read_header(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20
