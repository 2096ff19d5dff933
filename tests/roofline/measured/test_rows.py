"""Rows of one setup are predicted together."""

import pytest

from roofline.measured.table import COLUMNS
from roofline.measured.validate import validate
from roofline.time.serving import outcome


def scored_rows(tmp_path, texts):
    path = tmp_path / "rows.csv"
    path.write_text("\n".join([",".join(COLUMNS), *texts]))
    return validate(path).scored


def test_rows_of_one_setup_are_predicted_like_single_ones(tmp_path):
    cells = "A100 SXM 80GB,Llama 2 13B,,{format},,{batch},{prompt},{output},{phase},100,"
    texts = [
        cells.format(format=name, batch=batch, prompt=prompt, output=output, phase=phase)
        for name in ("fp16", "gguf-Q4_K_M")
        for phase in ("prefill", "decode", "e2e", "e2e_max")
        for batch, prompt, output in ((1, 128, 16), (8, 700, 300), (1, 128, 16), (3, 5000, 1))
    ]
    together = scored_rows(tmp_path, texts)
    assert len(together) == len(texts)
    for row in together:
        assert row.request.prompt == row.point.prompt
        one = outcome(row.setup, row.request, "expected")
        rate = {
            "prefill": one.prefill_tokens_per_s,
            "decode": one.decode_tokens_per_s,
        }.get(row.point.phase, one.output_tokens_per_s)
        assert row.expected == pytest.approx(rate, rel=1e-12)
        assert row.limit == (one.prefill if row.point.phase == "prefill" else one.decode).bound


def test_an_endless_answer_takes_no_time(tmp_path):
    cells = "A100 SXM 80GB,Llama 2 13B,,fp16,,1,128,{output},decode,100,"
    texts = [cells.format(output=output) for output in (65536, 65537, 10_000_000)]
    first, second, last = scored_rows(tmp_path, texts)
    assert first.expected == pytest.approx(second.expected, rel=1e-4)
    assert last.expected < first.expected / 50
