"""The public names of the rooms: all of them load, and importing a room loads none."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from numerics.lazy import public_names

ROOMS = ("numerics", "hw", "roofline", "rtl", "sim")


@pytest.mark.parametrize("name", ROOMS)
def test_every_public_name_loads_and_is_listed(name):
    room = importlib.import_module(name)
    names = public_names(Path(room.__file__))
    assert len(names) >= 5
    assert names.keys() <= set(dir(room))
    for public, module in names.items():
        assert getattr(room, public) is vars(importlib.import_module(module))[public]


@pytest.mark.parametrize("name", ROOMS)
def test_other_names_are_refused(name):
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'grouped_dots'"):
        importlib.import_module(name).grouped_dots  # noqa: B018


def test_importing_the_rooms_loads_neither_jax_nor_amaranth():
    rooms = ", ".join(ROOMS)
    code = f"import {rooms}, sys; print([x for x in ('jax', 'amaranth') if x in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
