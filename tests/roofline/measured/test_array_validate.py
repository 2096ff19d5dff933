"""Published rows of accelerators that other people built, and tables of such rows."""

from statistics import median

import pytest

from roofline.measured.array_rows import PUBLISHED, is_array_table
from roofline.measured.array_validate import validate_arrays


@pytest.fixture(scope="module")
def published():
    return validate_arrays(PUBLISHED)


def test_no_published_run_beats_its_bound(published):
    assert not published.unmatched
    assert [one.row.line for one in published.scored if not one.holds] == []


def test_the_median_error_of_published_rows_is_at_most_a_tenth(published):
    errors = [one.error for one in published.scored]
    assert len(errors) >= 50 and median(errors) < 0.1
    circuits = [one for one in published.scored if one.row.kind != "estimate"]
    assert median(one.error for one in circuits) < 0.05
    by_machine = {score.machine: score.median_error for score in published.scores}
    assert by_machine["gemmini"] < 0.1 and by_machine["opentpu"] < 0.05


def written(tmp_path, *lines):
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(lines))
    return path


def test_values_of_every_unit_are_the_same_run(tmp_path):
    path = written(
        tmp_path,
        "Machine,M,K,N,cycles,time_us,per_s,macs_per_cycle,tops,utilisation,clock_mhz",
        "Gemmini,64,64,64,2048,,,,,,",
        "Gemmini,64,64,64,,4.096,,,,,500",
        "Gemmini,64,64,64,,,488281.25,,,,",
        "Gemmini,64,64,64,,,,128,,,",
        "Gemmini,64,64,64,,,,,0.256,,",
        "Gemmini,64,64,64,,,,,,50%,",
        "Gemmini,64,64,64,,,,,,0.5,",
    )
    assert is_array_table(path)
    found = validate_arrays(path)
    assert [one.row.measured_cycles for one in found.scored] == pytest.approx([2048] * 7)


def test_a_token_of_a_model_reads_every_weight_once(tmp_path):
    path = written(
        tmp_path,
        "device,network,batch,context,cycles",
        "openTPU,qwen3-0.6b,2,1,7000000",
        "openTPU,qwen3-0.6b,4,1,14000000",
    )
    one, two = validate_arrays(path).scored
    # 440e6 weights of layers and 156e6 of the head, an FP32 scale for 128 of them, 102.4 B a cycle.
    assert one.cycles == pytest.approx(596e6 * (1 + 4 / 128) / 102.4, rel=0.02)
    # Two columns: four tokens read the weights twice.
    assert two.cycles == pytest.approx(2 * one.cycles, rel=0.02)


def test_rows_that_cannot_be_read_say_why(tmp_path):
    path = written(
        tmp_path,
        "device,network,m,k,n,taps,cycles",
        "abacus,,1,1,1,,9",
        "gemmini,,1.5,1,1,,9",
        "gemmini,,4,10,4,3,9",
        "gemmini,lenet,,,,,9",
        "gemmini,,1,1,1,,",
        "gemmini,,1,1,1,,-3",
        "gemmini,,16,16,16,,900",
    )
    found = validate_arrays(path)
    assert [row.line for row in found.unmatched] == [2, 3, 4, 5, 6, 7]
    words = ["unknown accelerator", "m is '1.5'", "3 taps do not", "unknown network", "none", "-3"]
    for row, word in zip(found.unmatched, words, strict=True):
        assert word in row.reason
    with pytest.raises(ValueError, match="no row could be matched: line 2"):
        validate_arrays(written(tmp_path, "device,m,k,n,cycles", "abacus,1,1,1,9"))
    with pytest.raises(ValueError, match="needs the columns device"):
        validate_arrays(written(tmp_path, "a,b", "1,2"))
