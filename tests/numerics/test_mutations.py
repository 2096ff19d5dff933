"""The suite notices a broken rule: its own tests, run anew with one, have to fail."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
OF_BLOCKS = "test_tensor.py::test_scales_codes_and_values_equal_the_reference"
OF_INPUTS = "test_cast.py::test_every_16_bit_input_has_the_code_of_ml_dtypes"
TESTS = {
    "half-away": f"{OF_INPUTS}[float16-fp4_e2m1]",
    "log2": f"{OF_BLOCKS}[mxfp4]",
    "reciprocal": f"{OF_BLOCKS}[int8:token:fp32]",
}


def run(test: str, mutation: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-n0", "-q", "-p", "mutate", str(HERE / test)]
    environment = {**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{Path.cwd()}"}
    environment["MUTATION"] = mutation
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("mutation", TESTS)
def test_a_mutation_is_noticed(mutation):
    broken = run(TESTS[mutation], mutation)
    assert broken.returncode == 1 and "1 failed" in broken.stdout, broken.stdout[-2000:]
    whole = run(TESTS[mutation], "")
    assert whole.returncode == 0 and "1 passed" in whole.stdout, whole.stdout[-2000:]
