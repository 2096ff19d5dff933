"""Accelerator files."""

import pytest

from hw.accelerator import (
    FOLDER,
    is_accelerator,
    list_accelerators,
    load_accelerator,
    read_accelerator,
)
from hw.dram import DRAM
from hw.machine import FOLDER as MACHINES


def test_every_built_in_accelerator_loads():
    assert len(list_accelerators()) == 11
    for name in list_accelerators():
        accelerator = load_accelerator(name)
        assert accelerator.technology_nm == (45 if name == "edge-8x8" else 28)
        assert accelerator.prefill_rows * accelerator.prefill_columns == (
            accelerator.decode_rows * accelerator.decode_columns
        )


def test_arrays_of_bitmod_and_its_baseline_are_not_of_equal_area():
    areas = {name: load_accelerator(name).array_area_mm2 for name in ("fp16-28nm", "bitmod", "ant")}
    assert {k: round(v, 3) for k, v in areas.items()} == {
        "fp16-28nm": 1.512,
        "bitmod": 1.544,
        "ant": 1.35,
    }
    assert load_accelerator("mixpe-w4a8").array_area_mm2 is None


def test_unconfirmed_numbers_are_named():
    assert load_accelerator("ant").unconfirmed == ("dequantize_cycles",)
    assert load_accelerator("bitmod").unconfirmed == ()


@pytest.mark.parametrize(
    "old,new,message",
    [
        ("clock_mhz", "clock_mzh", ", line 4: unknown key 'clock_mzh'; did you mean 'clock_mhz'?"),
        ("clock_mhz", "clock", ", line 4: key 'clock' lacks its unit: clock_mhz"),
        ("lanes = {", "# lanes = {", ": key 'lanes' is missing"),
        ("value = 1000", "value = 0", ", line 4: clock_mhz is 0, not above 0"),
        ("value = 1000", "value = -1", ", line 4: clock_mhz.value is -1.0, not from 0"),
        ("value = 1000", "value = true", ", line 4: clock_mhz.value is True, not a number"),
        ("lanes = { value = 4,", "lanes = { value = 4.5,", ", line 9: lanes is 4.5, not a whole"),
        ('dram = "ddr4"', 'dram = "ddr9"', ", line 2: dram is 'ddr9', not one of hbm2"),
        ('dram = "ddr4"', 'dram = "ddr4"\ndataflow = "x"', ", line 3: dataflow is 'x', not one of"),
        ("lanes = { value = 4, source", "lanes = { value = 4, scource", ", line 9: unknown key"),
        ('title = "', 'title "', ": not a TOML file"),
    ],
)
def test_a_wrong_file_is_refused_with_file_line_and_key(tmp_path, old, new, message):
    text = (FOLDER / "bitmod.toml").read_text()
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new))
    with pytest.raises(ValueError) as error:
        read_accelerator(path)
    assert str(error.value).startswith(f"{path}{message}")


def test_a_file_with_a_key_missing_is_still_an_accelerators(tmp_path):
    path = tmp_path / "mine.toml"
    text = (FOLDER / "bitmod.toml").read_text()
    path.write_text("\n".join(x for x in text.splitlines() if not x.startswith("prefill_rows")))
    assert is_accelerator(path) and not is_accelerator(MACHINES / "t4.toml")


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(
        ValueError, match=r"^unknown accelerator 'bitmood'; did you mean 'bitmod'\?"
    ):
        load_accelerator("bitmood")


def test_energies_of_memories_are_ordered():
    for energy in DRAM.values():
        low, nominal, high = energy.energy_pj(1)
        assert 0 < low <= nominal <= high
