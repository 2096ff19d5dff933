"""MixPE's published run times, as its results file rounds them."""

import pytest

from roofline.accelerator.published_mixpe import DESIGNS, MODELS, published_time_ratio

#: Run time over that of FP16; the file calls the mean in its last line a geometric one.
TIMES = """
             mixpe-w4a8  ant   bitfusion  int8  mixpe-w4a16  fp16
vit          0.15        0.61  0.70       0.82  0.53         1.00
vit-huge     0.12        0.47  0.67       0.82  0.32         1.00
opt-6.7b     0.10        0.40  0.68       0.86  0.19         1.00
llama-2-13b  0.10        0.40  0.68       0.86  0.19         1.00
mean         0.12        0.47  0.68       0.84  0.31         1.00
"""
NAMES, *ROWS = TIMES.strip().splitlines()


@pytest.mark.parametrize("row", ROWS)
def test_run_times_equal_the_published_ones(row):
    model, *expected = row.split()
    models = list(MODELS) if model == "mean" else [model]
    for design, ratio in zip(NAMES.split(), expected, strict=True):
        mean = sum(published_time_ratio(design, name) for name in models) / len(models)
        assert f"{mean:.2f}" == ratio, design


def test_run_times_of_opt_have_three_digits_of_the_simulator():
    ratios = [round(published_time_ratio(design, "opt-6.7b"), 3) for design in DESIGNS]
    assert ratios == [0.097, 0.395, 0.682, 0.863, 0.193, 1.0]


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"^'opt' is not in MixPE's results; known: vit, vit-huge"):
        published_time_ratio("int8", "opt")
    with pytest.raises(ValueError, match=r"^'olive' is not in MixPE's results; known: mixpe-w4a8"):
        published_time_ratio("olive", "vit")
