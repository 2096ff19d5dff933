"""Tables of PEs, verdicts and costs for the terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from hw.energy_level import level_note
from hw.pe_record import PeRecord, list_records, load_record
from rtl.comparable import BASELINE, MACS_PER_CYCLE
from rtl.element import ProcessingElement
from rtl.verification.verify import Verdict
from sim.hardware.command import Costs
from sim.hardware.ratios import ratio, why_not
from sim.tables import Column, FittingTable, numbers, words

if TYPE_CHECKING:
    from sim.hardware.run_layer import LayerRun

#: MACs per cycle by which ratios are listed, those of a usual array first.
_LISTED = sorted(MACS_PER_CYCLE, reverse=True)
_ABOUT_ENERGY = (
    "fJ/MAC is simulated with the cells' delays and inertial filtering; range: without glitches,"
    " and with all glitches of unit delays."
)


def pes_table(pes: Sequence[ProcessingElement]) -> FittingTable:
    """Return a table of PEs: formats, lanes, width of a result and source."""
    columns = (
        *words("name", "weights", "activations"),
        *numbers("lanes", "bits of result"),
        Column("source", wraps=True),
    )
    rows = [
        (
            pe.name,
            pe.weight_name,
            pe.activation_name,
            str(pe.lanes),
            str(_result_bits(pe)),
            pe.source,
        )
        for pe in pes
    ]
    return FittingTable(columns, rows, see="'qsim rtl show NAME' shows all of one PE.")


def _result_bits(pe: ProcessingElement) -> int:
    """Return the width of a result, of the record if there is one: circuits take time to build."""
    recorded = load_record(pe.name).result_bits if pe.name in list_records() else None
    return pe.result_shape.width if recorded is None else recorded


def verdict_line(verdict: Verdict) -> str:
    """Return a verdict as one line."""
    word = "ok" if verdict.is_good else "FAILED"
    rate = f"{verdict.rate_per_s:,.0f}/s" if verdict.time_s else "-"
    if verdict.beats:
        rate += f", {verdict.beat_rate_per_s:,.0f} beats/s"
    head = f"{verdict.pe:12} {verdict.layer:9} {word:6} {verdict.vectors:>11,} in"
    tail = f": {verdict.detail}" if verdict.detail else ""
    return f"{head} {verdict.time_s:6.1f} s ({rate}), {verdict.what}{tail}"


def layer_line(run: "LayerRun") -> str:
    """Return the outcome of a layer's run as one line."""
    size = f"{run.layer} of {run.model}, {run.inputs} x {run.outputs}, {run.tokens} tokens"
    work = f"{run.macs / 1e6:.1f} M MACs in {run.cycles:,} cycles of {run.tile}"
    work += f" PE{'s' * (run.tile > 1)} and {run.time_s:.1f} s"
    rate = f"{run.macs / run.time_s / 1e6:.2f} M MACs/s"
    if run.is_equal:
        return f"{size}: all {run.sums:,} sums and all outputs equal; {work} ({rate})"
    return f"{size}: {run.wrong_sums:,} sums and {run.wrong_outputs:,} outputs DIFFER; {work}"


def costs_table(
    records: Sequence[PeRecord], stale: Sequence[str], *, has_own_operands: bool
) -> RenderableType:
    """Return a table of costs, relative to the INT8 baseline measured with the same library.

    The operands are named if the user gave them.
    """
    base = _baseline(records, has_own_operands=has_own_operands)
    is_compared = not has_own_operands and all(
        one.library == load_record(BASELINE).library for one in records
    )
    rows = [
        (
            one.name + (" (stale)" if one.name in stale else ""),
            f"{one.area_um2_per_mac:.1f}",
            _number(one.energy_gate_delay_fj_per_mac, ".0f"),
            *(_ratios(one) if is_compared else _as_built(one, base)),
            _range(one),
            _number(one.delay_ps, ".0f"),
            f"{one.macs_per_cycle:g}",
            f"{one.area_um2:.1f}",
            _number(one.clock_fj_per_mac, ".0f"),
            one.recipe,
        )
        for one in records
    ]
    ratios = [f"{what} x{macs}" for macs in _LISTED for what in ("area", "energy")]
    columns = (
        *words("name"),
        *numbers("um2/MAC", "fJ/MAC", *(ratios if is_compared else ["area", "energy"]), "range",
                 "delay ps", "MACs/cycle", "area um2", "clock fJ/MAC"),
        *words("recipe"),
    )  # fmt: skip
    table = FittingTable(columns, rows, see="--json or a pipe shows all columns.")
    libraries = ", ".join(sorted({record.library for record in records}))
    notes = [
        f"Library {libraries}; no wires. {_ABOUT_ENERGY}",
        _about_ratios(records) if is_compared else "area, energy: per MAC over int8-mac as built.",
        level_note(),
    ]
    if any(record.energy_gate_delay_fj_per_mac is None for record in records):
        notes.append("-: the library lacks timing, capacitance or internal power.")
    notes += [_of_memories(record) for record in records if record.memories]
    if has_own_operands:
        notes += [f"{record.name} ran {record.operands}." for record in records]
    if stale:
        notes.append(
            "Stale (the Verilog, the library or the memory model has changed):"
            f" {', '.join(stale)}; measure them again with --all."
        )
    return Group(table, *(Text(f"\n{note}") for note in notes))


def _baseline(records: Sequence[PeRecord], *, has_own_operands: bool) -> PeRecord | None:
    """Return the baseline: among the records, or the stored one where it compares with them."""
    stored = [] if has_own_operands else [load_record(BASELINE)]
    for record in (*records, *stored):
        if record.name == BASELINE and all(one.library == record.library for one in records):
            return record
    return None


def _of_memories(record: PeRecord) -> str:
    area = sum(memory.area_um2 for memory in record.memories)
    energy = sum(memory.energy_fj for memory in record.memories) / record.lanes
    sizes = ", ".join(f"{memory.words} x {memory.bits} bits" for memory in record.memories)
    return (
        f"{record.name} includes {area:.0f} um2 and {energy:.0f} fJ/MAC of memories ({sizes}):"
        f" {record.memories[0].model}."
    )


def fpga_table(costs: Costs, family: str) -> RenderableType:
    """Return FPGA costs with and without DSP blocks, and relative to the INT8 baseline."""
    records, stale = costs.records, costs.stale
    base = _baseline(records, has_own_operands=False)
    rows = []
    for one in records:
        with_dsp, without = one.placed_on(family)
        ratio = _luts_per_mac(one, family) / _luts_per_mac(base, family) if base else None
        rows.append(
            (
                one.name + (" (stale)" if one.name in stale else ""),
                str(with_dsp.luts),
                str(with_dsp.flip_flops),
                str(with_dsp.dsps),
                f"{with_dsp.fmax_mhz:.1f}",
                str(without.luts),
                f"{without.fmax_mhz:.1f}",
                f"{one.macs_per_cycle:g}",
                _number(ratio, ".2f"),
            )
        )
    headings = ("LUTs", "flip-flops", "DSPs", "MHz", "LUTs no DSP", "MHz no DSP", "MACs/cycle",
                "LUTs no DSP x INT8")  # fmt: skip
    see = "--json or a pipe shows all columns."
    table = FittingTable((*words("name"), *numbers(*headings)), rows, see=see)
    devices = ", ".join(sorted({cost.device for one in records for cost in one.placed_on(family)}))
    notes = [f"{devices}, placed and routed between registers, one seed."]
    if costs.missing:
        notes.append(f"Not placed: {', '.join(costs.missing)}; name one PE to see the reason.")
    if stale:
        notes.append(
            f"Stale (the Verilog has changed): {', '.join(stale)}; place them again with --all."
        )
    return Group(table, *(Text(f"\n{note}") for note in notes))


def _luts_per_mac(record: PeRecord, family: str) -> float:
    return record.placed_on(family)[1].luts / record.macs_per_cycle


def _ratios(one: PeRecord) -> list[str]:
    """Return area and energy over the baseline's at equal MACs per cycle."""
    found = [ratio(one.name, macs) for macs in _LISTED]
    return [text for each in found for text in (
        ("-", "-") if each is None else (f"{each.area:.2f}", f"{each.energy:.2f}")
    )]  # fmt: skip


def _as_built(one: PeRecord, base: PeRecord | None) -> list[str]:
    """Return area and energy per MAC over those of the baseline, each as it was measured."""
    if base is None:
        return ["-", "-"]
    own, others = one.energy_gate_delay_fj_per_mac, base.energy_gate_delay_fj_per_mac
    energy = None if own is None or others is None else own / others
    return [f"{one.area_um2_per_mac / base.area_um2_per_mac:.2f}", _number(energy, ".2f")]


def _about_ratios(records: Sequence[PeRecord]) -> str:
    """Return what the ratios compare, and why some PEs have none."""
    text = (
        f"{', '.join(f'x{macs}' for macs in _LISTED)}: over {BASELINE} with as many MACs per cycle,"
        " each with the scale of its groups inside and its own accumulator."
    )
    for reason, names in why_not(one.name for one in records).items():
        text += f" Not built so: {', '.join(names)} ({reason})."
    return text


def _range(one: PeRecord) -> str:
    low, high = one.energy_no_delay_fj_per_mac, one.energy_unit_delay_fj_per_mac
    return "-" if low is None or high is None else f"{low:.0f} to {high:.0f}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
