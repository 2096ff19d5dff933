"""Accelerator files."""

import pytest

from hw.accelerator import FOLDER, list_accelerators, load_accelerator, read_accelerator
from hw.dram import DRAM


def test_every_built_in_accelerator_loads():
    assert len(list_accelerators()) == 10
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


def test_numbers_that_nobody_confirmed_are_named():
    assert load_accelerator("ant").unconfirmed == ("dequantize_cycles",)
    assert load_accelerator("bitmod").unconfirmed == ()


@pytest.mark.parametrize(
    "old,new,message",
    [
        ("clock_mhz", "clock_mzh", "unknown key 'clock_mzh'; did you mean 'clock_mhz'?"),
        ("lanes = {", "# lanes = {", "key 'lanes' is missing"),
        ("value = 1000", "value = 0", "clock_mhz is 0, not a positive number"),
        ("value = 1000", "value = true", "clock_mhz is True, not a positive number"),
        ("lanes = { value = 4,", "lanes = { value = 4.5,", "lanes is 4.5, not a positive whole"),
        ('dram = "ddr4"', 'dram = "ddr9"', "dram is 'ddr9', not one of hbm2"),
        (
            "lanes = { value = 4, source",
            "lanes = { value = 4, scource",
            "lanes needs a value and a",
        ),
        ('title = "', 'title "', "not a TOML file"),
    ],
)
def test_a_wrong_file_is_refused_with_file_and_key(tmp_path, old, new, message):
    text = (FOLDER / "bitmod.toml").read_text()
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new))
    with pytest.raises(ValueError) as error:
        read_accelerator(path)
    assert str(error.value).startswith(f"{path}: {message}")


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(
        ValueError, match=r"^unknown accelerator 'bitmood'; did you mean 'bitmod'\?"
    ):
        load_accelerator("bitmood")


def test_energies_of_memories_are_ordered():
    for energy in DRAM.values():
        low, nominal, high = energy.energy_pj(1)
        assert 0 < low <= nominal <= high
