"""Machine files, their numbers, and the names under which people know them."""

import pytest

from hw.machine import FOLDER, list_machines, load_machine, numbers_of, read_machine
from hw.names import find_machine
from hw.sram import FIT_ERROR, POINTS, access_energy_pj_per_byte
from hw.technology import node_factor

GOOD = """\
title = "Box"
vendor = "me"
kind = "gpu"
dram = "ddr5"
bandwidth_gb_per_s = { value = 100, source = "felt" }
capacity_gb = { value = 16, source = "felt", confirmed = false }

[[peaks]]
weights = "fp16"
activations = "fp16"
accumulate = "fp32"
tops = { value = 10, source = "felt" }
"""


@pytest.mark.parametrize("name", list_machines())
def test_every_machine_has_peaks_and_a_source_for_each_number(name):
    machine = load_machine(name)
    assert machine.native_peaks and machine.vector_ops_per_s > 0
    assert all(number.source for _, number in numbers_of(machine))


def test_there_are_the_machines_of_the_field():
    kinds = {load_machine(name).kind for name in list_machines()}
    assert kinds == {"gpu", "cpu", "npu"} and len(list_machines()) >= 90


def test_data_sheet_numbers():
    a100, pi = load_machine("a100-sxm-80gb"), load_machine("raspberry-pi-5")
    assert (a100.bytes_per_s, a100.ops_per_s("fp16")) == (2039e9, 312e12)
    assert a100.ops_per_s("fp8") is None and a100.ops_per_s("int8", "fp16") is None
    # Four cores at 2.4 GHz, two ports of 16 bytes, two operations each.
    assert pi.ops_per_s("int8") == pytest.approx(4 * 2.4e9 * 64)
    assert pi.bytes_per_s == pytest.approx(17.1e9)


def test_the_gb_of_a_card_are_gib():
    sizes = {
        "a100-sxm-80gb": 81920,
        "h100-sxm": 81559,
        "h200-sxm": 143771,
        "b200": 183359,
        "rtx-4090": 24576,
    }
    for name, mib in sizes.items():
        assert load_machine(name).capacity_bytes == pytest.approx(mib * 2**20, rel=1e-3), name
    assert find_machine("RTX 3080 12GB").machine.name == "rtx-3080-12gb"


def test_a_file_says_the_capacity_once(tmp_path):
    path = tmp_path / "box.toml"
    path.write_text(GOOD.replace("capacity_gb", "capacity_gib"))
    assert read_machine(path).capacity_bytes == 16 * 2**30
    path.write_text(GOOD)
    assert read_machine(path).capacity_bytes == 16e9
    line = next(line for line in GOOD.splitlines() if line.startswith("capacity"))
    for text in ("", f"{line}\n{line.replace('_gb', '_gib')}"):
        path.write_text(GOOD.replace(line, text))
        with pytest.raises(
            ValueError, match="either capacity_gib, in 2\\*\\*30 bytes, or capacity_gb"
        ):
            read_machine(path)


def test_geforce_halves_fp16_with_a_wide_accumulator():
    machine = load_machine("rtx-4090")
    assert machine.ops_per_s("fp16", fastest=False) == 165e12
    assert machine.ops_per_s("fp16") == 330e12


def test_a_users_file(tmp_path):
    path = tmp_path / "box.toml"
    path.write_text(GOOD)
    machine = read_machine(path)
    assert (machine.name, machine.unconfirmed) == ("box", ("capacity_gb",))


@pytest.mark.parametrize(
    "old,new,words",
    [
        ("bandwidth_gb_per_s", "bandwidth", ["line 5", "lacks its unit: bandwidth_gb_per_s"]),
        ("capacity_gb", "capacty_gb", ["line 6", "did you mean 'capacity_gb'"]),
        ('{ value = 100, source = "felt" }', "100", ["line 5", "with its source"]),
        ("value = 100", "value = 0", ["bandwidth_gb_per_s is 0, not above 0"]),
        ('kind = "gpu"', 'kind = "toaster"', ["kind is 'toaster'", "gpu, cpu, npu"]),
        ('dram = "ddr5"', 'dram = "core"', ["dram is 'core'"]),
        ('weights = "fp16"', 'weights = "fp7"', ["operand 'fp7'"]),
        ('title = "Box"', 'title = "Box', ["not a TOML file"]),
    ],
)
def test_a_wrong_file_is_reported_in_one_line(tmp_path, old, new, words):
    path = tmp_path / "box.toml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(ValueError) as error:
        read_machine(path)
    message = str(error.value)
    assert all(word in message for word in ["box.toml", *words]) and "\n" not in message


def test_the_law_of_sram_meets_its_points():
    errors = [access_energy_pj_per_byte(size) / (pj / 8) - 1 for size, pj in POINTS]
    assert max(map(abs, errors)) == pytest.approx(FIT_ERROR)
    assert FIT_ERROR < 0.1
    assert access_energy_pj_per_byte(1 << 20, 28) < access_energy_pj_per_byte(1 << 20)


def test_nodes_of_the_paper():
    # The specification's quotients from the paper's coefficients.
    assert [node_factor(n) for n in (65, 45, 32, 16, 7)] == [2.405, 1.0, 0.654, 0.172, 0.0684]
    assert node_factor(90) > 2.405 > node_factor(50) > 1.0


@pytest.mark.parametrize(
    "name,operands,found",
    [
        ("graviton3", "int8", (2, 0.5)),
        ("graviton3", "fp16", (1, 1.0)),
        ("xeon-8480plus", "int8", (16, 0.125)),
        ("xeon-8480plus", "fp32", (1, 1.0)),
        ("ryzen-7950x", "int8", (1, 1.0)),
    ],
)
def test_tokens_that_fill_a_matrix_instruction(name, operands, found):
    assert load_machine(name).cores.matrix_tokens(operands) == found


@pytest.mark.parametrize(
    "name,old,key",
    [
        ("h100-sxm", "value = 989.4", "peaks.tops"),
        ("h100-sxm", "value = 67,", "vector_tops"),
        ("h100-sxm", "value = 33792", "on_chip_kb"),
        ("h100-sxm", "value = 3350", "bandwidth_gb_per_s"),
        ("h100-sxm", "value = 4,", "process_nm"),
        ("h100-sxm", "value = 900", "link_gb_per_s"),
        ("epyc-7v13", "value = 64,", "cores.count"),
        ("epyc-7v13", "value = 3.5,", "cores.clock_ghz"),
    ],
)
def test_a_zero_that_nothing_can_be_divided_by_has_its_line_and_key(tmp_path, name, old, key):
    lines = (FOLDER / f"{name}.toml").read_text().splitlines()
    place = next(n for n, line in enumerate(lines) if old in line)
    lines[place] = lines[place].replace(old, "value = 0" + old[-1] * old.endswith(","))
    path = tmp_path / "mine.toml"
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError) as error:
        read_machine(path)
    assert str(error.value) == f"{path}, line {place + 1}: {key} is 0, not above 0"
