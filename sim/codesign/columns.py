"""Columns of a design's row: heading, unit, kind of number, and value."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from hw.fpga import Fpga
from sim.codesign.design import Design

#: What a number is: measured by a run or a tool on a netlist, proved, counted from definitions,
#: computed by a model, or assumed or chosen.
Kind = Literal["measured", "proved", "counted", "modelled", "assumed", "chosen"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of tables, CSV files and pages."""

    name: str
    title: str
    unit: str
    kind: Kind
    meaning: str
    value: Callable[[Design], Any]
    spec: str = ""
    #: Factor of the value in tables, such as 1000 for mJ.
    scale: float = 1.0

    def text(self, design: Design) -> str:
        """Return the value as tables show it."""
        value = self.value(design)
        if isinstance(value, float):
            value *= self.scale
        return "" if value is None else f"{value:{self.spec}}"


def _c(
    name: str,
    title: str,
    unit: str,
    kind: Kind,
    meaning: str,
    value: Callable[[Design], Any],
    spec: str = "",
    scale: float = 1.0,
) -> Column:
    return Column(
        name=name,
        title=title,
        unit=unit,
        kind=kind,
        meaning=meaning,
        value=value,
        spec=spec,
        scale=scale,
    )


_CLOCK = "at most that of the netlist's longest path with an assumed margin of 1.5"
_TIME = "cycles of the schedule, exact in a memory without stalls, at 0.85 of the bandwidth"
_BOUND = "no schedule is faster: all PEs busy, or weights at the full bandwidth"
_ENERGY = (
    "toggles of the netlist (delays of the cells, inertial filtering), buffers by a law, memory"
    " nominal"
)
_AREA = (
    "PEs by their netlists (measured), buffers by a law of macros, controller and memory interface"
    " assumed; no wires, pads and PHY"
)
COLUMNS = (
    _c("weights", "weights", "", "chosen", "format of weights", lambda d: d.pair.weights),
    _c("activations", "acts", "", "chosen", "operands", lambda d: d.pair.activations),
    _c("kv", "KV", "", "chosen", "format of the KV cache", lambda d: d.pair.kv),
    _c("method", "method", "", "chosen", "choice of codes", lambda d: d.pair.accuracy.method),
    _c("element", "PE", "", "chosen", "processing element", lambda d: d.pair.record.name),
    _c("rows", "rows", "", "chosen", "outputs at once", lambda d: d.grid.rows[0]),
    _c("columns", "columns", "", "chosen", "tokens at once", lambda d: d.grid.columns[0]),
    _c("weight_buffer_kib", "KiB", "KiB", "chosen", "weight buffer, 0 for a FIFO alone",
       lambda d: d.grid.weight_buffers_kib[0]),
    _c("lanes", "lanes", "", "counted", "MACs of a PE and beat", lambda d: d.pair.record.lanes),
    _c("clock_mhz", "MHz", "MHz", "chosen", f"clock, {_CLOCK}",
       lambda d: d.grid.clocks_mhz[0], "g"),
    _c("memory", "memory", "", "chosen", "kind of memory", lambda d: d.grid.memories[0].kind),
    _c("gb_per_s", "GB/s", "GB/s", "chosen", "peak bandwidth", lambda d: d.gb_per_s, "g"),
    _c("tokens_per_s", "tok/s", "tokens/s", "modelled", _TIME, lambda d: d.tokens_per_s, ".3g"),
    _c("bound_tokens_per_s", "bound", "tokens/s", "modelled", _BOUND,
       lambda d: d.bound_tokens_per_s, ".3g"),
    _c("limit", "limit", "", "modelled", "what most time waits for", lambda d: d.step.limit),
    _c("energy_j", "mJ/tok", "J", "modelled", _ENERGY, lambda d: d.energy_j[1], ".3g", 1e3),
    _c("energy_low_j", "mJ low", "J", "modelled", "without glitches, least of memory",
       lambda d: d.energy_j[0], ".3g", 1e3),
    _c("energy_high_j", "mJ high", "J", "modelled", "all glitches, most of memory",
       lambda d: d.energy_j[2], ".3g", 1e3),
    _c("area_mm2", "mm2", "mm2", "modelled", _AREA, lambda d: d.area, ".3g"),
    _c("kl_nats", "KL", "nats", "measured", "divergence from the float32 model",
       lambda d: d.pair.accuracy.kl_nats, ".4f"),
    _c("kl_se", "± SE", "nats", "measured", "standard error of KL over windows",
       lambda d: d.pair.accuracy.kl_se, ".4f"),
    _c("loss_nats", "loss", "nats", "measured", "log-likelihood less that of float32",
       lambda d: d.pair.accuracy.loss_nats, "+.4f"),
    _c("class", "class", "", "measured", "ties of accuracy: within one standard error",
       lambda d: d.accuracy_class + 1),
    _c("bits_per_weight", "bits", "bits", "counted", "bits of a weight with its side data",
       lambda d: d.pair.bits_per_weight, ".3f"),
)  # fmt: skip
_LUTS = (
    "look-up tables: PEs as placed alone (measured), controller, memory controller and interface"
    " assumed"
)
#: Columns of an FPGA in place of area and energy.
_KLUTS = _c("kluts", "kLUT", "1000 LUT4", "modelled", _LUTS, lambda d: d.area, ".3g")
_OF_CHIPS = ("energy_j", "energy_low_j", "energy_high_j", "area_mm2")
BY_NAME = {column.name: column for column in (*COLUMNS, _KLUTS)}


def columns_of(fpga: Fpga | None, prompts: Iterable[int] = ()) -> tuple[Column, ...]:
    """Return the columns of chips, or of machines on an FPGA, whose energy is unknown.

    Each prompt has a column of its own.
    """
    of_prompts = tuple(_ttft(tokens) for tokens in prompts)
    if fpga is None:
        return COLUMNS + of_prompts
    found = [_KLUTS if column.name == "area_mm2" else column for column in COLUMNS]
    return tuple(column for column in found if column.name not in _OF_CHIPS) + of_prompts


def _ttft(tokens: int) -> Column:
    """Return the column of the time to the first token of a prompt."""
    return _c(
        f"ttft_{tokens}_s", f"TTFT {tokens}", "s", "modelled",
        f"seconds to the first token of a prompt of {tokens}, {_TIME}",
        lambda d: d.ttft_s[tokens], ".3g",
    )  # fmt: skip


#: Columns of the terminal's table.
TERMINAL = (
    "weights", "activations", "element", "rows", "clock_mhz", "gb_per_s", "tokens_per_s",
    "bound_tokens_per_s", "energy_j", "energy_low_j", "energy_high_j", "area_mm2", "kluts",
    "kl_nats", "kl_se", "class",
)  # fmt: skip


def row(design: Design) -> dict[str, Any]:
    """Return every column of a design as plain data."""
    columns = columns_of(design.grid.fpga, design.ttft_s)
    return {"design": design.number, **{c.name: c.value(design) for c in columns}}
