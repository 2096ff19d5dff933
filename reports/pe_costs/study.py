"""What processing elements cost: ``python reports/pe_costs/study.py``. Takes a minute or two.

Synthesizes nothing again: the table is of the stored records (``qsim rtl cost --all --out hw/pe_records`` makes them).
The sweep of accumulator widths is synthesized here.
"""

import dataclasses
import platform
from importlib.metadata import version
from pathlib import Path

import matplotlib

from hw.pe_record import PeRecord, list_records, load_record
from rtl.catalog import find_pe
from rtl.cost.cells import CELLS
from rtl.cost.cost import cost
from rtl.cost.synthesis import synthesize
from sim.hardware.ratios import ratio

matplotlib.use("agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
SWEPT = ("int8-mac", "int4x8-mac", "mixpe-w4a8", "dint4-mac", "fp4-dot")
WIDTHS = (24, 32, 40, 48)
TEXT = """# What processing elements cost

Area and energy of each PE's gate-level netlist: the smaller result of two synthesis recipes, mapped to
`qsim45`, a cell library with the areas and energies of an open 45 nm library. Operands are Gaussian; each
record states their distribution. Energy comes from toggles with the delays of the cells and inertial filtering;
its range is that of two simpler counts, without glitches (zero delay) and with those of one unit delay per gate
([pe_energy](../pe_energy) has the reasons, and the level of the energies). Wires and the clock tree are not
included; cell delays are rounded constants. The sums of each netlist were compared with the golden model in the
same run. Efficiency is 1 / (area x energy).

PEs with several lanes share one accumulator and one result register, while `int8-mac` and `fp16-mac` have
them for a single lane: {share:.0%} of the cell area of `int8-mac` is flip-flops. Ratios of whole PEs therefore
mix the format's gain with that of shared registers. The columns `x16` compare PEs built alike: 16 MACs per cycle,
one accumulator, and the scale of each group applied inside, over INT8 built so; `x1` the same with one MAC per
cycle, where the scaler of each PE, used once in a group, is most of the area. A PE without them has sums that
round in an order that its lanes set, several outputs, or codes that set its lanes. One "MAC" of `bitmod-dequantizer` is one group, about 128
MACs of the PE that feeds it. The codebooks of `aqlm-2x8` are memory macros modelled by `hw.sram`, which
account for {macro_area:.0f} um2 of its area and {macro_energy:.0f} fJ of its energy per MAC.

{costs}

![Area and energy per MAC over those of int8-mac](costs.png)

## Compared with the papers' claims

- **MixPE W4A8**, claimed 2.29 times the INT8 PE in area-power efficiency: here area x energy is
  {mixpe:.2f} times better than that of the INT8 MAC, {mixpe_16:.2f} times with 16 lanes and scales, and it is only
  {mixpe_area:.2f} times smaller than a plain INT4 x INT8 MAC; the Booth-coded MAC is smaller still.
- **MixPE W4A16**, claimed 4.82 times the FP16 PE in area-power efficiency: here area x energy of the
  exact one, whose sum has {w4a16_bits} bits, is {w4a16:.2f} times better than that of the FP16 MAC with an
  FP32 accumulator; with a short accumulator it is {running:.2f} times better.
- **dINT4**, claimed 1.93 times smaller and 2.56 times less power than INT8: here {dint_area:.2f} times
  smaller and {dint_energy:.2f} times less energy, with an accumulator just wide enough for exact sums. Its decoder and the extra bit for half-integer values cost about as much as the narrower
  multiplier saves.
- **BitMoD**: two terms per weight and four lanes make two MACs per cycle, as published. With products that
  are aligned and truncated, as published, the PE takes {aligned_area:.0f} um2 in 45 nm (published: 1508 um2
  in 28 nm, dequantizer included), and area x energy is {aligned:.2f} times better than the FP16 MAC's; the PE
  with the exact sum of {bitmod_bits} bits takes {bitmod_area:.0f} um2. Its long chain of shifters and adders
  glitches, so the range of its energy is wide.

## Accumulators

{widths}

Each accumulator bit that exact sums do not need costs an accumulator flip-flop, an adder bit and a result
flip-flop; in small PEs they are most of the area.

Made by `python reports/pe_costs/study.py` with qsim {qsim}, amaranth {amaranth}, pyosys {pyosys}, Python
{python} on {machine}; operands from seed 0. `bits of sum` is the width of one sum in the result, mantissa and exponent included.
"""


def table(headings: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def ratios(one: PeRecord, base: PeRecord) -> tuple[float, float]:
    """Return the ratios of area and of energy per MAC to those of a baseline PE."""
    return (
        one.area_um2_per_mac / base.area_um2_per_mac,
        one.energy_gate_delay_fj_per_mac / base.energy_gate_delay_fj_per_mac,
    )


def efficiency(one: PeRecord, base: PeRecord) -> float:
    """Return a baseline PE's area x energy per MAC over this PE's."""
    area, energy = ratios(one, base)
    return 1 / (area * energy)


def alike(name: str, macs: int) -> list[str]:
    """Return area and energy over INT8 at equal MACs per cycle, scales inside; "-" if not built."""
    found = ratio(name, macs)
    return ["-", "-"] if found is None else [f"{found.area:.2f}", f"{found.energy:.2f}"]


def figure(records: list[PeRecord], base: PeRecord) -> None:
    """Draw area and energy a MAC over those of the INT8 MAC, smallest area first."""
    ordered = sorted(records, key=lambda r: r.area_um2_per_mac)
    places = range(len(ordered))
    drawing, axes = plt.subplots(figsize=(6.6, 9.5), layout="constrained")
    area, energy = zip(*(ratios(one, base) for one in ordered), strict=True)
    axes.hlines(places, area, energy, color="0.8", lw=2, zorder=1)
    for values, label, color, marker in (
        (area, "area", "0.35", "s"),
        (energy, "energy", "#0072B2", "o"),
    ):
        axes.plot(values, places, marker, color=color, ms=5, label=label)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.axvline(1, color="0.2", lw=0.8)
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.set_yticks(places, [one.name for one in ordered])
    axes.set_ylim(len(ordered) - 0.4, -0.6)
    axes.set_xlabel("per MAC, over the INT8 MAC (log scale)")
    drawing.suptitle("Area and energy of each PE over those of int8-mac")
    drawing.legend(loc="outside lower center", ncols=3, frameon=False)
    drawing.savefig(HERE / "costs.png", dpi=130, metadata={"Software": None})


def flip_flop_share(name: str) -> float:
    """Return the share of a PE's area that is flip-flops."""
    netlist = synthesize(find_pe(name))
    return netlist.cells["DFF"] * CELLS["DFF"].area_um2 / netlist.area_um2


def width_rows() -> list[list[str]]:
    """Return the area of some PEs with accumulators of several widths, their own first."""
    rows = []
    for name in SWEPT:
        pe = find_pe(name)
        areas = [load_record(name).area_um2]
        areas += [cost(dataclasses.replace(pe, accumulator_bits=w)).area_um2 for w in WIDTHS]
        rows.append([name, str(pe.result_shape.width), *(f"{area:.0f}" for area in areas)])
    return rows


def main() -> None:
    """Write the figure and README.md."""
    records = [load_record(name) for name in list_records()]
    base, int4 = load_record("int8-mac"), load_record("int4x8-mac")
    fp16, books = load_record("fp16-mac"), load_record("aqlm-2x8")
    figure(records, base)
    rows = []
    for one in sorted(records, key=lambda r: r.area_um2_per_mac):
        area, energy = ratios(one, base)
        rows.append([
            one.name, f"{one.weights} x {one.activations}", f"{one.macs_per_cycle:g}",
            str(one.accumulator_bits), f"{one.area_um2:.0f}", one.recipe, f"{one.delay_ps:.0f}",
            f"{one.energy_gate_delay_fj_per_mac:.0f}",
            f"{one.energy_no_delay_fj_per_mac:.0f} to {one.energy_unit_delay_fj_per_mac:.0f}",
            *alike(one.name, 16), *alike(one.name, 1), f"{area:.2f}", f"{energy:.2f}",
            f"{efficiency(one, base):.2f}", f"{efficiency(one, fp16):.2f}",
        ])  # fmt: skip
    mixpe, dint, w4a16 = (load_record(n) for n in ("mixpe-w4a8", "dint4-mac", "mixpe-w4a16"))
    better = {
        name: efficiency(load_record(name), fp16)
        for name in ("mixpe-w4a16", "mixpe-w4a16-running", "bitmod-fp4-aligned")
    }
    at_16 = ratio("mixpe-w4a8", 16)
    assert at_16 is not None
    dint_area, dint_energy = ratios(dint, base)
    text = TEXT.format(
        share=flip_flop_share("int8-mac"),
        costs=table(
            ["PE", "formats", "MACs/cycle", "bits of sum", "area um2", "recipe", "delay ps",
             "fJ/MAC", "range", "area x16", "energy x16", "area x1", "energy x1",
             "area per MAC / INT8", "energy / INT8", "efficiency x INT8", "efficiency x FP16"],
            rows,
        ),
        mixpe=efficiency(mixpe, base),
        mixpe_16=1 / (at_16.area * at_16.energy),
        mixpe_area=int4.area_um2 / mixpe.area_um2,
        w4a16_bits=w4a16.accumulator_bits,
        w4a16=better["mixpe-w4a16"],
        running=better["mixpe-w4a16-running"],
        aligned_area=load_record("bitmod-fp4-aligned").area_um2,
        aligned=better["bitmod-fp4-aligned"],
        macro_area=sum(memory.area_um2 for memory in books.memories),
        macro_energy=sum(memory.energy_fj for memory in books.memories) / books.lanes,
        bitmod_bits=load_record("bitmod-fp4").accumulator_bits,
        bitmod_area=load_record("bitmod-fp4").area_um2,
        dint_area=1 / dint_area,
        dint_energy=1 / dint_energy,
        widths=table(
            ["PE", "exact bits", "area um2", *(f"{width} bits" for width in WIDTHS)], width_rows()
        ),
        qsim=version("qsim-codesign"),
        amaranth=version("amaranth"),
        pyosys=version("pyosys"),
        python=platform.python_version(),
        machine=f"{platform.system()} {platform.machine()}",
    )  # fmt: skip
    (HERE / "README.md").write_text(text)
    print(HERE / "README.md")


if __name__ == "__main__":
    main()
