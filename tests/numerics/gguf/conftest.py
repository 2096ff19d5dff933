"""Inputs of the GGUF tests."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def inputs() -> ModuleType:
    """Inputs and the answers of ``gguf``, ``inputs.py`` beside this file."""
    spec = importlib.util.spec_from_file_location(
        "gguf_inputs", Path(__file__).with_name("inputs.py")
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
