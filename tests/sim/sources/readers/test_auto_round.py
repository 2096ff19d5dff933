"""AutoRound: which layout, and which zero points."""

import numpy as np
import pytest
from _helpers.layouts import array, cases, decoded, values

from sim.sources.readers.auto_round import open_layout

GPTQ, AWQ = cases("gptq")["gptq-int4-g32-asym"], cases("awq")["gemm"]
NUMBERS = {"bits": 4, "group_size": 32, "sym": False}


@pytest.mark.parametrize(
    ("packing", "zeros"),
    [("auto_round:auto_gptq", "v1"), (None, "v1"), ("auto_round:gptqmodel", "v2")],
)
def test_packings_of_gptq(packing, zeros):
    given = {n: array(GPTQ[n]) for n in ("qweight", "scales")}
    given["qzeros"] = array(GPTQ[f"qzeros_{zeros}"])
    expected = array(GPTQ["expected_out_in"])
    layout = open_layout(NUMBERS | {"packing_format": packing}, {})
    ours = values(decoded(layout, given, expected.shape))
    np.testing.assert_array_equal(ours.astype(expected.dtype), expected)


def test_packing_of_awq_and_numbers_of_one_layer():
    given = {n: array(AWQ[n]) for n in ("qweight", "scales", "qzeros")}
    expected = array(AWQ["expected_out_in"])
    settings = {"packing_format": "auto_round:auto_awq", "bits": 4, "group_size": 64}
    layout = open_layout(settings | {"extra_config": {"m": {"group_size": 32}}}, {})
    ours = values(decoded(layout, given, expected.shape))
    np.testing.assert_array_equal(ours.astype(expected.dtype), expected)


def test_an_unknown_packing_is_refused():
    with pytest.raises(ValueError, match="packing_format must be one of auto_round:auto_gptq"):
        open_layout({"bits": 4, "packing_format": "auto_round:exllamav2:x"}, {})
