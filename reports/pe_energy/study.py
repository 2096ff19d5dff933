"""How far the energies of PEs can be trusted: ``python reports/pe_energy/study.py``.

Reads the CSV files of ``measure.py`` and the stored records, and writes ``README.md``.
"""

import csv
from pathlib import Path
from statistics import median

from hw.energy_level import HOROWITZ_V, RECORD_V, energy_level
from hw.pe_record import PeRecord, list_records, load_record

HERE = Path(__file__).parent
#: Operators of Horowitz, ISSCC 2014: energy in fJ at 45 nm and 0.9 V, and area in um2 where the
#: table of Sze et al., Proceedings of the IEEE 105, 2017, repeats it.
HOROWITZ = {
    "add8": (30, 36), "add16": (50, 67), "add32": (100, 137), "mul8": (200, 282),
    "mul32": (3100, 3495),
}  # fmt: skip
#: Feature size in nm and voltage of the open libraries.
PROCESSES = {
    "nangate45_typ": ("NanGate 45 nm (predictive)", 45, 1.10),
    "sg13g2": ("IHP SG13G2", 130, 1.20),
    "sky130hd_tt": ("SkyWater 130 nm HD", 130, 1.80),
}
RECORD_NM = 45
#: Baselines of the ratios: PEs of one lane, and of 16.
ONE_LANE = ("booth-w8a8", "int4x8-mac", "mixpe-w4a8", "dint3-mac", "fp4-dot")
SIXTEEN = ("ternary-16", "int4-16", "mixpe-w4a8-int8", "mxfp4-dot", "nvfp4-dot")
TEXT = """# How far the energies of processing elements can be trusted

`qsim rtl cost` prints one energy per MAC and its range. This study says where the energy lies in the range
and why, how high the level is, and how well ratios between PEs hold in other cell libraries.

## One energy between two counts

Energy is toggles times the energy of a toggle. Without gate delays (`no delay`) no net glitches; with one unit of
delay per gate (`unit delay`) chains of gates of unequal depth glitch freely. The printed energy has the delay of
each cell, which grows with the load of its output, and inertial filtering: a pulse shorter than the delay of a
gate does not pass it, as in gate-level simulation of annotated delays.

{delays}

(fJ per MAC of logic, clock pins left out; 64 groups of Gaussian operands.) `fixed load` has one delay per cell
type; `spread` multiplies every gate's delay by a random factor with a standard deviation of 20 or 40 %, as wires and
sizes would. These move the energy by {sensitive} at most, while `transport` delay, which lets every pulse pass,
is {transport_low:.1f} to {transport_high:.1f} times it and above `unit delay`: unit delays are therefore no upper bound of
unfiltered glitches, and the filtering decides the number. Over all {count} records the energy of logic lies at {low:.0%} to {high:.0%} of
the way from `no delay` to `unit delay` (median {middle:.0%}); long unpipelined chains of shifters and adders are at the low end.
Wires, which lengthen delays and add load, are not included.

## The level

Bare operators, mapped to the library of the records (1.10 V), on uniform operands, at {horowitz_v} V by the square of the
voltage, over Horowitz (ISSCC 2014, 45 nm, 0.9 V):

{operators}

Areas are {area_low:.2f} to {area_high:.2f} times theirs, and energies without glitches {bare_low:.1f} to {bare_high:.1f} times. `int8-mac` takes {total:.1f} times the 0.3 pJ of an 8-bit multiplication and a 32-bit addition:
**{voltage:.2f}** for the voltage, **{registers:.2f}** for the clock pins of its {flip_flops} flip-flops, **{glitches:.2f}** for glitches and **{cells:.2f}** for the
cells. Published operator energies do not say how glitches were counted.

Mapped to other open libraries, with energies scaled to 45 nm and 1.10 V by length and the square of the voltage:

{levels}

NanGate, whose areas and energies the records' library repeats with {own_cells} of its cells, gives the same level: the reduction to a few cells and constant
tables is not the cause. The two libraries of real processes are {proven_low:.1f} to {proven_high:.1f} times lower by this linear scaling: the cells of
the predictive library take more energy than linear scaling predicts, as the factor of {cells:.1f} above says. The level is not
corrected, since no open library of a real 45 nm process is there to measure it on: every table and page with
joules of PEs prints the factor.

## Ratios between PEs

Energy and area per MAC over `int8-mac` (PEs of one lane) and over `int8-16` (PEs of 16 lanes), and their difference from
the ratio of the records:

{ratios}

With 16 MACs per cycle, where registers are a small share, ratios of energy agree within {near:.0%} in NanGate and
SG13G2. In SkyWater they differ by up to {far:.0%}, because `int8-16` glitches less there: its logic takes {sky:.1f} times the
energy without delays, {own:.1f} times in the records' library; without glitches the ratios agree within {still:.0%}. Ratios of
area agree within {sixteen_area:.0%}. With one lane ratios of energy differ by up to {one:.0%}: half of the energy of a small PE is in
its flip-flops, which weigh more against gates in the 130 nm libraries. Compare PEs by the columns x16 of `qsim rtl cost`.

Made by `python reports/pe_energy/study.py` from the CSV files beside it, which `measure.py` makes. The liberty files are
those of OpenSTA's repository (The-OpenROAD-Project/OpenSTA, d1b2b396), which are not part of this project.
"""


def rows(name: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with (HERE / name).open() as file:
        return list(csv.DictReader(file))


def table(headings: list[str], lines: list[list[str]]) -> str:
    """Return a Markdown table."""
    listed = [headings, ["---"] * len(headings), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in listed)


def place(record: PeRecord) -> float:
    """Return where the energy of logic lies between its counts: 0 no delay, 1 unit delay."""
    low, high = record.energy_no_delay_fj_per_mac, record.energy_unit_delay_fj_per_mac
    middle = record.energy_gate_delay_fj_per_mac
    assert low is not None and middle is not None and high is not None
    return (middle - low) / (high - low)


def delay_table(measured: list[dict[str, str]]) -> str:
    """Return the energies under every model of delay."""
    names = ["no_delay", "gate_delay", "fixed_load", "spread_20", "spread_40", "unit_delay",
             "transport"]  # fmt: skip
    lines = [[row["pe"], *(row[name] for name in names)] for row in measured]
    return table(["PE", *(name.replace("_", " ") for name in names)], lines)


def sensitivity(measured: list[dict[str, str]]) -> str:
    """Return the largest differences of other delays from the printed energy."""
    others = [
        int(row[name]) / int(row["gate_delay"]) - 1
        for row in measured
        for name in ("fixed_load", "spread_20", "spread_40")
    ]
    return f"{min(others):+.0%} to {max(others):+.0%}"


def operator_table() -> str:
    """Return bare operators over those of Horowitz."""
    lines = []
    for row in rows("operators.csv"):
        energy, area = HOROWITZ[row["operator"]]
        scaled = [int(row[k]) * (HOROWITZ_V / RECORD_V) ** 2 for k in
                  ("no_delay_fj", "gate_delay_fj")]  # fmt: skip
        lines.append([
            row["operator"], row["area_um2"], f"{float(row['area_um2']) / area:.2f}",
            *(f"{one:.0f}" for one in scaled), str(energy),
            " to ".join(f"{one / energy:.1f}" for one in scaled),
        ])  # fmt: skip
    headings = [
        "operator",
        "um2",
        "/ Horowitz",
        "fJ no delay",
        "fJ gate delay",
        "Horowitz",
        "times",
    ]
    return table(headings, lines)


def by_library() -> dict[str, dict[str, dict[str, float]]]:
    """Return measured numbers by library and PE."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows("libraries.csv"):
        numbers = {k: float(v) for k, v in row.items() if k not in ("library", "pe")}
        found.setdefault(row["library"], {})[row["pe"]] = numbers
    return found


def scaled_level(library: str, energy_fj: float) -> float:
    """Return an energy at the size and voltage of the records."""
    _, size_nm, volts = PROCESSES[library]
    return energy_fj * RECORD_NM / size_nm * (RECORD_V / volts) ** 2


def glitch_factor(numbers: dict[str, float]) -> float:
    """Return the energy of logic with glitches over that without."""
    clock = numbers["clock_fj"]
    return (numbers["gate_delay_fj"] - clock) / (numbers["no_delay_fj"] - clock)


def ratio_rows(
    found: dict[str, dict[str, dict[str, float]]], names: tuple[str, ...], base: str, key: str
) -> list[tuple[str, list[float], list[float]]]:
    """Return for each PE its ratio in every library, and the differences from the records'."""
    own = found["qsim45"]
    made = []
    for name in names:
        ratios = [found[lib][name][key] / found[lib][base][key] for lib in ("qsim45", *PROCESSES)]
        expected = own[name][key] / own[base][key]
        made.append((name, ratios, [ratio / expected - 1 for ratio in ratios[1:]]))
    return made


def main() -> None:
    """Write README.md."""
    measured, found, level = rows("delays.csv"), by_library(), energy_level()
    places = [place(load_record(name)) for name in list_records()]
    transport = [int(row["transport"]) / int(row["gate_delay"]) for row in measured]
    base = found["qsim45"]["int8-mac"]["gate_delay_fj"]
    levels = {
        name: scaled_level(name, found[name]["int8-mac"]["gate_delay_fj"]) for name in PROCESSES
    }
    parts = [
        (names, of, ratio_rows(found, names, of, key), key)
        for key in ("gate_delay_fj", "area_um2_per_mac")
        for names, of in ((ONE_LANE, "int8-mac"), (SIXTEEN, "int8-16"))
    ]
    still = ratio_rows(found, SIXTEEN, "int8-16", "no_delay_fj")
    worst = [max(abs(d) for _, _, away in made for d in away) for _, _, made, _ in parts]
    lines = [
        [f"{name} / {of}", "energy" if key == "gate_delay_fj" else "area", f"{ratios[0]:.3f}",
         *(f"{ratio:.3f} ({d:+.0%})" for ratio, d in zip(ratios[1:], away, strict=True))]
        for _, of, made, key in parts for name, ratios, away in made
    ]  # fmt: skip
    areas = [float(r["area_um2"]) / HOROWITZ[r["operator"]][1] for r in rows("operators.csv")]
    bare = [
        int(r["no_delay_fj"]) * (HOROWITZ_V / RECORD_V) ** 2 / HOROWITZ[r["operator"]][0]
        for r in rows("operators.csv")
    ]
    proven = [base / levels[name] for name in ("sg13g2", "sky130hd_tt")]
    (HERE / "README.md").write_text(
        TEXT.format(
            delays=delay_table(measured),
            sensitive=sensitivity(measured),
            transport_low=min(transport),
            transport_high=max(transport),
            count=len(places),
            low=min(places),
            high=max(places),
            middle=median(places),
            operators=operator_table(),
            area_low=min(areas),
            area_high=max(areas),
            bare_low=min(bare),
            bare_high=max(bare),
            horowitz_v=HOROWITZ_V,
            total=level.total,
            voltage=level.voltage,
            registers=level.registers,
            glitches=level.glitches,
            cells=level.cells,
            flip_flops=2 * load_record("int8-mac").accumulator_bits + 1,
            own_cells=13,
            levels=table(
                ["library", "fJ of int8-mac", "at 45 nm, 1.10 V", "records over it"],
                [
                    [PROCESSES[name][0], f"{found[name]['int8-mac']['gate_delay_fj']:.0f}",
                     f"{fj:.0f}", f"{base / fj:.2f}"]
                    for name, fj in levels.items()
                ],
            ),
            proven_low=min(proven),
            proven_high=max(proven),
            ratios=table(
                ["PE", "of", "qsim45", *(name for name, _, _ in PROCESSES.values())], lines
            ),
            one=worst[0],
            near=max(abs(d) for _, _, away in parts[1][2] for d in away[:2]),
            far=max(abs(away[2]) for _, _, away in parts[1][2]),
            sky=glitch_factor(found["sky130hd_tt"]["int8-16"]),
            own=glitch_factor(found["qsim45"]["int8-16"]),
            still=max(abs(away[2]) for _, _, away in still),
            sixteen_area=worst[3],
        )
    )  # fmt: skip
    print(HERE / "README.md")


if __name__ == "__main__":
    main()
