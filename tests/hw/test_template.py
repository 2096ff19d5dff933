"""Files to start from are valid, and say what every key means."""

from dataclasses import fields

import pytest

from hw.accelerator import ACCELERATORS, Accelerator, read_accelerator
from hw.cpu import Cores, SmallCores
from hw.machine import MACHINES, Efficiency, Machine, Peak, read_machine
from hw.template import ACCELERATOR, EXAMPLE, MACHINE, template


@pytest.mark.parametrize("name", ["h100-sxm", "core-i7-12700h", "apple-m2-ultra", "rk3588-npu"])
def test_a_machines_template_is_the_same_machine(tmp_path, name):
    path = tmp_path / f"{name}.toml"
    text = template(MACHINES.path(name).read_text())
    path.write_text(text)
    assert read_machine(path) == MACHINES.load(name)
    assert "# bandwidth_gb_per_s: memory bandwidth, 1e9 bytes/s" in text
    assert "unknown key" not in text


@pytest.mark.parametrize("name", ACCELERATORS.names())
def test_an_accelerators_template_is_the_same_accelerator(tmp_path, name):
    path = tmp_path / f"{name}.toml"
    text = template(ACCELERATORS.path(name).read_text())
    path.write_text(text)
    assert read_accelerator(path) == ACCELERATORS.load(name)
    assert "unknown key" not in text and "nanometers" in text


def test_offered_keys_are_valid_too(tmp_path):
    path = tmp_path / "box.toml"
    text = template(MACHINES.path("apple-m2").read_text())
    offered = [line for line in text.splitlines() if f" = {EXAMPLE}  #" in line]
    assert any(line.startswith("# idle_w = ") for line in offered)
    path.write_text(text.replace("# idle_w = ", "idle_w = "))
    assert read_machine(path).idle_w.value == 1


def test_every_key_of_a_file_is_explained():
    given = {"name", "peaks", "cores", "efficiency", "small", "unconfirmed", "sources"}
    for cls, about in (
        (Machine, MACHINE[""]),
        (Peak, MACHINE["peaks"]),
        (Cores, MACHINE["cores"]),
        (SmallCores, MACHINE["cores.small"]),
        (Efficiency, MACHINE["efficiency"]),
        (Accelerator, ACCELERATOR[""]),
    ):
        assert {one.name for one in fields(cls)} - given == about.keys(), cls
