"""The cells of the project's own library, and the text of their liberty file.

Areas, input capacitances, leakage and internal energies are facts read from the open NanGate 45 nm
library (typical, 1.10 V, 25 C, drive X1). Delays are not: they are round numbers for a load of two
gates, so that paths can be compared with one another. Wires are not counted.

``python -m rtl.cost.cells`` writes ``hw/liberty/qsim45.lib``.
"""

from dataclasses import dataclass
from pathlib import Path

LIBERTY = Path(__file__).resolve().parents[2] / "hw" / "liberty" / "qsim45.lib"
VOLTAGE_V = 1.10


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell with one output."""

    name: str
    area_um2: float
    #: Capacitance of each input in fF, by its name.
    inputs: dict[str, float]
    #: Function of the output (of a flip-flop: its stored bit), in the syntax of liberty.
    function: str
    leakage_nw: float
    #: Energy inside the cell per change of its output, in fJ.
    internal_fj: float
    delay_ps: float
    #: Energy of each clock edge in a flip-flop, in fJ; ``None`` for gates.
    clock_edge_fj: float | None = None
    output: str = "Y"

    @property
    def is_flip_flop(self) -> bool:
        """Whether it stores its input at a clock edge."""
        return self.clock_edge_fj is not None


def _gate(
    name: str,
    area: float,
    caps: dict[str, float],
    function: str,
    leak: float,
    energy: float,
    delay: float,
) -> Cell:
    return Cell(
        name=name,
        area_um2=area,
        inputs=caps,
        function=function,
        leakage_nw=leak,
        internal_fj=energy,
        delay_ps=delay,
    )


CELLS = {
    cell.name: cell
    for cell in (
        _gate("INV", 0.532, {"A": 1.70}, "!A", 14.35, 0.97, 12),
        _gate("BUF", 0.798, {"A": 0.97}, "A", 21.44, 2.36, 25),
        _gate("NAND2", 0.798, {"A": 1.60, "B": 1.66}, "!(A & B)", 17.39, 1.37, 16),
        _gate("NOR2", 0.798, {"A": 1.71, "B": 1.65}, "!(A | B)", 21.20, 1.37, 22),
        _gate("AND2", 1.064, {"A": 0.92, "B": 0.97}, "A & B", 25.07, 2.57, 32),
        _gate("OR2", 1.064, {"A": 0.95, "B": 0.94}, "A | B", 22.69, 2.49, 38),
        _gate("XOR2", 1.596, {"A": 2.23, "B": 2.41}, "A ^ B", 36.16, 2.98, 40),
        _gate("XNOR2", 1.596, {"A": 2.23, "B": 2.57}, "!(A ^ B)", 36.44, 2.92, 36),
        _gate("MUX2", 1.862, {"A": 0.95, "B": 0.94, "S": 1.92}, "(S & B) | (!S & A)",
              35.93, 3.26, 50),
        _gate("AOI21", 1.064, {"A": 1.63, "B": 1.65, "C": 1.68}, "!((A & B) | C)", 27.86, 2.08, 26),
        _gate("OAI21", 1.064, {"A": 1.67, "B": 1.66, "C": 1.57}, "!((A | B) & C)", 22.62, 1.99, 24),
        _gate("AOI22", 1.330, {"A": 1.60, "B": 1.62, "C": 1.64, "D": 1.66},
              "!((A & B) | (C & D))", 32.61, 2.23, 32),
        Cell(
            name="DFF", area_um2=4.522, inputs={"D": 1.14, "CK": 0.95}, function="D",
            leakage_nw=79.11, internal_fj=4.20, delay_ps=85, clock_edge_fj=3.62, output="Q",
        ),
    )
}  # fmt: skip
#: Setup time of a flip-flop's input, in ps.
SETUP_PS = 40.0


def liberty_text() -> str:
    """Return the text of the liberty file, which Yosys and ABC read."""
    doc = " ".join((__doc__ or "").split("``python")[0].split())
    lines = [f"/* {doc} */", "library (qsim45) {"]
    lines += [
        "  delay_model : table_lookup;",
        '  time_unit : "1ps";',
        '  voltage_unit : "1V";',
        "  capacitive_load_unit (1, ff);",
        '  leakage_power_unit : "1nW";',
        f"  nom_voltage : {VOLTAGE_V};",
    ]
    for cell in CELLS.values():
        lines += _cell_lines(cell)
    return "\n".join([*lines, "}", ""])


def _cell_lines(cell: Cell) -> list[str]:
    lines = [
        f"  cell ({cell.name}) {{",
        f"    area : {cell.area_um2};",
        f"    cell_leakage_power : {cell.leakage_nw};",
    ]
    if cell.is_flip_flop:
        lines.append('    ff (IQ, IQN) { next_state : "D"; clocked_on : "CK"; }')
    for name, cap in cell.inputs.items():
        more = ""
        if cell.clock_edge_fj is not None:
            more = f" clock : true; {_power(cell.clock_edge_fj)}" if name == "CK" else f" {_SETUP}"
        lines.append(f"    pin ({name}) {{ direction : input; capacitance : {cap};{more} }}")
    function = "IQ" if cell.is_flip_flop else cell.function
    lines.append(f'    pin ({cell.output}) {{ direction : output; function : "{function}";')
    related = ["CK"] if cell.is_flip_flop else list(cell.inputs)
    kind = " timing_type : rising_edge;" if cell.is_flip_flop else ""
    for name in related:
        tables = " ".join(
            _scalar(table, cell.delay_ps)
            for table in ("cell_rise", "cell_fall", "rise_transition", "fall_transition")
        )
        lines.append(f'      timing () {{ related_pin : "{name}";{kind} {tables} }}')
    lines.append(f"      {_power(cell.internal_fj)}")
    return [*lines, "    }", "  }"]


def _power(energy_fj: float) -> str:
    """Return the liberty text of an energy per rise and per fall; unit: capacitance x voltage^2."""
    tables = " ".join(_scalar(kind, energy_fj) for kind in ("rise_power", "fall_power"))
    return f"internal_power () {{ {tables} }}"


def _scalar(kind: str, value: float) -> str:
    return f'{kind} (scalar) {{ values ("{value}"); }}'


_SETUP = (
    'timing () { related_pin : "CK"; timing_type : setup_rising; '
    f"{_scalar('rise_constraint', SETUP_PS)} {_scalar('fall_constraint', SETUP_PS)} }}"
)


if __name__ == "__main__":
    LIBERTY.write_text(liberty_text(), encoding="utf-8")
