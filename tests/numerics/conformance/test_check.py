import shutil
import struct
import zipfile

import numpy as np
import pytest

from numerics.conformance.check import check_directory
from numerics.conformance.pack import DATA, read


@pytest.fixture
def copy(tmp_path):
    """Return a directory with the codes of two formats and the arrays of a scheme."""
    for name in ("formats/fp4_e2m1.npz", "schemes/mxfp4.npz"):
        (tmp_path / name).parent.mkdir()
        shutil.copyfile(DATA / name, tmp_path / name)
    return tmp_path


def rewrite(path, **changed):
    np.savez_compressed(path, **(read(path) | changed))


def test_equal_files_are_equal(copy):
    verdicts = check_directory(copy)
    assert len(verdicts) == 3 + 9 * 3 and not any(v.different for v in verdicts)


def test_a_wrong_code_is_found_and_named(copy):
    path = copy / "formats" / "fp4_e2m1.npz"
    codes = read(path)["codes_sat"].copy()
    place = int(np.flatnonzero(read(path)["inputs"] == np.float32(2.5).view(np.uint32))[0])
    codes[place] = 5
    rewrite(path, codes_sat=codes)
    wrong = [v for v in check_directory(copy) if v.different]
    assert [(v.file, v.array, v.different) for v in wrong] == [
        ("formats/fp4_e2m1.npz", "codes_sat", 1)
    ]
    assert wrong[0].first == "input 2.5 (0x40200000): 0x5, not 0x4"


def test_any_nan_is_a_nan_in_values(copy):
    path = copy / "schemes" / "mxfp4.npz"
    values = read(path)["F/values"]
    rewrite(path, **{"F/values": np.where(values == 0x7FC00000, np.uint32(0xFFFFFFFF), values)})
    assert not any(v.different for v in check_directory(copy))


@pytest.mark.parametrize(
    ("name", "arrays", "message"),
    [
        ("fp5", {}, "the pack has no 'formats/fp5.npz'; it has"),
        ("int4", {"kodes": np.zeros(3, np.uint8)}, "has an array 'kodes'; ours are inputs, codes"),
        ("int4", {"codes": np.zeros(3, np.uint8)}, r"'codes' of 'formats/int4.npz' is uint8\[3\]"),
        ("int4", {"codes": np.array([{}])}, "cannot read"),
    ],
)
def test_files_with_wrong_names_or_arrays_are_refused(tmp_path, name, arrays, message):
    (tmp_path / "formats").mkdir()
    np.savez_compressed(tmp_path / "formats" / f"{name}.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        check_directory(tmp_path)


def test_other_files_and_bombs_are_refused(tmp_path):
    (tmp_path / "formats").mkdir()
    path = tmp_path / "formats" / "int4.npz"
    path.write_bytes(b"PK\x03\x04 no more")
    with pytest.raises(ValueError, match="cannot read"):
        check_directory(tmp_path)
    np.savez_compressed(path, codes=np.zeros(1 << 27, np.uint8))
    with pytest.raises(ValueError, match="more than 67108864"):
        check_directory(tmp_path)


def header(shape, kind="|u1"):
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


@pytest.mark.parametrize(
    ("member", "content", "message"),
    [
        ("codes.npy", header("(1000000000000,)"), "has 0 bytes, not those of uint8"),
        ("codes.npy", header("(-1,)"), "has 0 bytes, not those of"),
        ("codes.npy", header("(2,)") + b"abc", "has 3 bytes, not those of"),
        ("codes.npy", header("(1,)", "|O") + b"\x80\x04.", "has object, not numbers"),
        ("codes.npy", header("(1,)", "<U1") + b"abcd", "has <U1, not numbers"),
        ("codes.npy", header("__import__('os')"), "malformed node"),
        ("codes.npy", b"hello", "cannot read"),
        ("codes", header("(1,)") + b"a", "'codes' is not an array: it doesn't end in .npy"),
        ("../c\x1b[31m.npy", header("(1,)") + b"a", r"has an array '../c\\x1b\[31m'; ours are"),
    ],
)
def test_arrays_that_lie_are_refused_unallocated(tmp_path, member, content, message):
    (tmp_path / "formats").mkdir()
    with zipfile.ZipFile(tmp_path / "formats" / "int4.npz", "w") as archive:
        archive.writestr(member, content)
    with pytest.raises(ValueError, match=message):
        check_directory(tmp_path)


@pytest.mark.parametrize(
    ("at", "damage"),
    [
        (8, b"\x63\x00"),  # unknown compression
        (6, b"\x01\x00"),  # encrypted
        (None, bytes(40)),  # deflated data overwritten
    ],
)
def test_damaged_members_are_refused(tmp_path, at, damage):
    (tmp_path / "formats").mkdir()
    path = tmp_path / "formats" / "int4.npz"
    data = bytearray((DATA / "formats" / "int4.npz").read_bytes())
    if at is None:
        data[80 : 80 + len(damage)] = damage
    else:
        directory = data.find(b"PK\x01\x02")
        data[at : at + 2] = data[directory + at + 2 : directory + at + 4] = damage
    path.write_bytes(data)
    with pytest.raises(ValueError, match="cannot read"):
        check_directory(tmp_path)


def test_a_file_without_answers_is_refused(tmp_path):
    (tmp_path / "formats").mkdir()
    np.savez(tmp_path / "formats" / "int4.npz", inputs=np.zeros(3, np.uint32))
    with pytest.raises(ValueError, match="has no arrays to compare; ours are inputs, codes"):
        check_directory(tmp_path)


def test_an_empty_directory_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has no formats/NAME.npz or schemes/NAME.npz"):
        check_directory(tmp_path)
