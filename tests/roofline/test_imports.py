"""Predictions need neither JAX nor Amaranth."""

import subprocess
import sys


def test_importing_needs_neither_jax_nor_amaranth():
    modules = "roofline.time.serving, roofline.time.grid, roofline.measured.validate"
    code = f"import {modules}, sys; print([x for x in ('jax', 'amaranth') if x in sys.modules])"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
