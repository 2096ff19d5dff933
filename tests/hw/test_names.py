"""Machines by their exact names, titles and aliases, and nothing else."""

import pytest

from hw.machine import list_machines, load_machine
from hw.names import find_machine


@pytest.mark.parametrize("name", list_machines())
def test_every_name_title_and_alias_means_a_machine(name):
    machine = load_machine(name)
    assert find_machine(name).machine is machine
    for text in (machine.title, *machine.aliases):
        found = find_machine(text).machine
        # A processor and its GPU or NPU may share the name of the chip.
        assert found is machine or found.kind != machine.kind, text


@pytest.mark.parametrize("form,count", [("2x {}", 2), ("8 x {}", 8), ("{} x4", 4), ("{} * 3", 3)])
def test_a_count_on_either_side_keeps_every_model_number(form, count):
    for name in list_machines():
        machine = load_machine(name)
        for text in (name, machine.title, *machine.aliases):
            found = find_machine(form.format(text))
            assert (found.machine, found.count) == (find_machine(text).machine, count), text


@pytest.mark.parametrize(
    "text,name,count,threads",
    [
        ("4x a100", "a100-sxm-80gb", 4, None),
        ("2x h100-sxm", "h100-sxm", 2, None),
        ("8 x NVIDIA H100 SXM", "h100-sxm", 8, None),
        ("H100 x8", "h100-sxm", 8, None),
        ("2x 4090", None, None, None),
        ("RTX 4090 24GB", "rtx-4090", 1, None),
        ("m2-ultra", "apple-m2-ultra", 1, None),
        ("RX 7900 XTX", "rx-7900-xtx", 1, None),
        ("raspberry-pi-5, 4 threads", "raspberry-pi-5", 1, 4),
        ("8x jetson-agx-orin-64gb-cpu", "jetson-agx-orin-64gb-cpu", 8, None),
    ],
)
def test_a_number_of_machines_or_threads_stands_beside_the_name(text, name, count, threads):
    if name is None:
        with pytest.raises(ValueError, match=r"unknown machine '2x 4090'; did you mean 'rtx-4090'"):
            find_machine(text)
        return
    found = find_machine(text)
    assert (found.machine.name, found.count, found.threads) == (name, count, threads)


@pytest.mark.parametrize(
    "text,near",
    [
        ("RTX 4090 Laptop", "rtx-4090"),
        ("RTX 4090 48GB", "rtx-4090"),
        ("H100 PCEI", "h100-pcie"),
        ("a100-40bg", "a100-sxm-40gb"),
        ("apple-m2-ulta", "apple-m2-ultra"),
        ("bitmd", "bitmod"),
        ("HGX H100 8-GPU", "h100"),
        ("foo", "`qsim hw` lists all"),
        ("", "`qsim hw` lists all"),
    ],
)
def test_a_word_that_a_machine_does_not_have_is_an_error(text, near):
    with pytest.raises(ValueError, match="unknown machine") as error:
        find_machine(text)
    assert near in str(error.value)


@pytest.mark.parametrize(
    "text,words", [("0x a100", "0 machines"), ("1000x a100", "1000 machines in '1000x a100'; from")]
)
def test_numbers_of_machines_have_bounds(text, words):
    with pytest.raises(ValueError, match=words):
        find_machine(text)
