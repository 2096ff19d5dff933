"""Tables of measured rows: which files and which rows are read."""

import pytest
from _helpers.measured_rows import HEAD, ROWS, scored

from roofline.measured.table import Unmatched, read_points
from roofline.measured.validate import validate


@pytest.mark.parametrize(
    "phase,given,prompt",
    [
        ("decode", "", 1),
        ("decode", "0", 1),
        ("decode", "512", 512),
        ("prefill", "", 512),
        ("e2e", "0", 512),
    ],
)
def test_decode_starts_from_an_empty_context_unless_a_row_has_a_prompt(
    tmp_path, phase, given, prompt
):
    row = scored(tmp_path, f"A100 80GB,Llama-2-7B,6.7e9,fp16,,1,{given},,{phase},20")
    assert (row.point.prompt, row.point.output) == (prompt, 128)


@pytest.mark.parametrize(
    "content,words",
    [
        ("device,model\n", "column 'params' is missing"),
        ("", "column 'device' is missing"),
        (HEAD, "no row could be matched"),
        (HEAD + "Foo,,,,,,,,decode,1,\n", "line 2"),
    ],
)
def test_no_table(tmp_path, content, words):
    path = tmp_path / "points.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=words):
        validate(path)


def test_files_are_bounded(tmp_path):
    path = tmp_path / "points.csv"
    with pytest.raises(ValueError, match="cannot be read"):
        list(read_points(path))
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(ValueError, match="UTF-8"):
        list(read_points(path))
    path.write_bytes(b"x" * ((16 << 20) + 1))
    with pytest.raises(ValueError, match="longer than"):
        list(read_points(path))
    path.write_text(ROWS)
    assert sum(isinstance(row, Unmatched) for row in read_points(path)) == 5


@pytest.mark.parametrize(
    "changes,words",
    [
        ({"params": "0"}, "params is '0', not above 0"),
        ({"params": "1e300"}, "params is '1e300'; from 100000 to 1e+14"),
        ({"device": "0x a100"}, "'0x a100' means 0 machines; at least 1"),
        ({"device": "i5-6500 0 threads"}, "'i5-6500 0 threads' means 0 threads; at least 1"),
        ({"weight_format": "gguf-q4_0 (0 GiB)"}, "a file of 0 bytes has 0 bits a weight"),
        ({"weight_format": "exl2 1.2.3"}, "unknown format 'exl2 1.2.3'"),
        ({"tokens_per_s": "1e-320"}, "tokens_per_s is '1e-320'; from 1e-09 to 1e+12"),
        ({"batch": "1e400"}, "batch is '1e400'; a whole number up to 10,000,000"),
        ({"batch": "1.5"}, "batch is '1.5'; a whole number"),
        ({"gen_len": "1e12"}, "gen_len is '1e12'; a whole number"),
    ],
)
def test_an_impossible_row_is_reported_and_the_others_count(tmp_path, changes, words):
    row = {
        "device": "A100",
        "model": "llama-2-7b",
        "params": "6.7e9",
        "weight_format": "fp16",
        "act_format": "",
        "batch": "1",
        "prompt_len": "128",
        "gen_len": "64",
        "phase": "decode",
        "tokens_per_s": "80",
        "source": "s",
    }
    rows = [",".join(each.values()) for each in (row | changes, row)]
    path = tmp_path / "points.csv"
    path.write_text("\n".join([",".join(row), *rows]))
    bad, good = read_points(path)
    assert words in bad.reason and good.batch == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.upper().replace("Q4_0", "q4_0", 1),
        lambda text: text.replace(",", ";"),
        lambda text: text.replace(",", "\t"),
        lambda text: text.replace("model,params", " model , params "),
        lambda text: "\ufeff" + text.replace("\n", "\r\n"),
    ],
    ids=["upper case", "semicolons", "tabs", "blanks", "as Windows writes it"],
)
def test_tables_as_spreadsheets_write_them(tmp_path, change):
    path = tmp_path / "points.csv"
    row = "i5-6500,LLaMA-7B,6.7e9,q4_0,,1,,128,decode,3.94,s\n"
    path.write_bytes(change(HEAD + row).encode())
    (point,) = read_points(path)
    assert point.found.machine.name == "core-i5-6500" and point.tokens_per_s == 3.94


def test_cells_keep_their_line_ends(tmp_path):
    path = tmp_path / "points.csv"
    row = '"2x RTX\n4090",LLaMA-7B,6.7e9,q4_0,,1,,128,decode,100,"a\u2028b\r\nc"\n'
    # A line separator of Unicode ends no row.
    path.write_bytes((HEAD + row + row.replace('"a\u2028b\r\nc"', "a\u2028b")).encode())
    quoted, plain = read_points(path)
    assert (quoted.device, quoted.line, plain.line) == ("2x RTX\n4090", 4, 6)
    assert plain.found.count == quoted.found.count == 2


@pytest.mark.parametrize("rate", ["1e400", "nan", "-3", "inf", "0", "", "1e-400"])
def test_a_rate_that_is_not_positive_is_reported(tmp_path, rate):
    path = tmp_path / "points.csv"
    path.write_text(f"{HEAD}i5-6500,LLaMA-7B,6.7e9,q4_0,,1,,128,decode,{rate},s\n")
    (row,) = read_points(path)
    assert isinstance(row, Unmatched) and "tokens_per_s" in row.reason
