"""Scores of predictions against a table of measured points."""

import pytest
from _helpers.measured_rows import scored

from roofline.measured.validate import validate


def test_rows_are_scored_and_the_rest_is_reported(table):
    found = validate(table)
    assert [row.point.line for row in found.scored] == [2, 3, 4, 5, 6, 7, 14, 15]
    reasons = {row.line: row.reason for row in found.unmatched}
    assert {
        line: words in reasons[line]
        for line, words in {
            8: "unknown machine 'Abacus'",
            9: "phase 'sleep'",
            10: "unknown model 'Mystery'",
            11: "tokens_per_s is 'fast'",
            12: "unknown format",
            13: "no sequence fits",
        }.items()
    } == dict.fromkeys(range(8, 14), True)
    assert [row.holds for row in found.scored] == [True] * 7 + [False]
    fit = [row for row in found.scored if row.point.line < 8]
    assert all(row.error < 0.3 for row in fit)
    by_group = {score.group: score for score in found.scores}
    decode = by_group["cpu", "decode", "all"]
    assert decode.rows == 4 and decode.holds == 1.0
    errors = [row.error for row in fit if row.point.phase == "decode"]
    assert decode.mean_error == pytest.approx(sum(errors) / 4)
    assert "times the bound" in next(r for r in found.worst if r.point.line == 15).reason


def test_the_bound_of_a_full_memory_uses_all_of_it(tmp_path):
    # 70.55e9 bytes of weights leave no sequence in nine tenths of 80e9, but did in a run.
    row = scored(tmp_path, "H100 SXM,Llama-3.1-70B,70.6e9,fp8,,,128,128,e2e_max,500")
    assert row.expected < row.bound
    assert row.point.batch is None and row.holds
    one = scored(tmp_path, "A100 80GB,Llama-2-7B,6.7e9,fp16,,,512,512,e2e_max,1")
    # Sequences that grow from 512 to 1024 have 768 tokens of 0.5 MiB on average.
    sequences = (80 * 2**30 - 13.477e9) / (768 * 524288)
    # Decode steps read weights and caches once; the prompt is compute-bound.
    step_s = 80 * 2**30 / 2039e9
    prompt_s = sequences * 512 * 2 * 6.48e9 / 312e12
    assert one.bound == pytest.approx(sequences * 512 / (512 * step_s + prompt_s), rel=0.06)


def test_a_size_in_the_name_is_one(tmp_path):
    row = scored(tmp_path, "A100 80GB,Vicuna-33B,,fp16,,1,128,64,decode,20")
    assert row.point.is_generic and row.point.shape.params == pytest.approx(33e9, rel=0.1)


def test_a_largest_batch_ends_where_the_server_does(tmp_path):
    def batch(words=""):
        row = scored(tmp_path, f"H200 SXM,Qwen2.5-0.5B,,fp16,,,128,128,e2e_max,9{words}")
        return row.request.batch, row

    assert batch()[0] == 1024
    named, row = batch(",vllm --max-num-seqs 256")
    assert named == 256 and row.point.most_sequences == 256
    # A bound takes more sequences than a server's default, and no more than a row names.
    assert batch()[1].bound >= row.bound > row.expected
