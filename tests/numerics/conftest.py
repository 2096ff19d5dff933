"""Shared fixtures of the tests of ``numerics``."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def gold() -> ModuleType:
    """The independent reference, ``gold.py`` beside this file."""
    spec = importlib.util.spec_from_file_location("gold", Path(__file__).with_name("gold.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules["gold"] = module
    spec.loader.exec_module(module)
    return module
