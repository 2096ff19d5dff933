"""Two worked designs for SmolLM2-135M: ``python reports/codesign/study.py``.

Writes the tables ``chip.csv``, ``ecp5.csv``, ``wins.csv`` and ``claims.csv``, the figures and README.md
of this directory in seconds. Accuracy comes from the table that ``qsim codesign`` ships; a format that
was not measured has its hardware alone. Every number in the text of README.md is a query of
``claims.csv`` on the tables, which a test repeats.
"""

from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd

from hw.energy_level import level_note
from hw.fpga import FPGAS
from hw.pe_record import load_record
from roofline.model.model_shape import load_model
from sim.codesign.accuracy import find_accuracy
from sim.codesign.accuracy_file import FLOAT, AccuracyRow
from sim.codesign.grid import Designs, Grid, Memory, evaluate
from sim.codesign.options import CodesignOptions
from sim.codesign.pairs import Pair
from sim.codesign.search import token_work

matplotlib.use("agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
MODEL, CONTEXT = "smollm2-135m", 512
#: Area of the chip in mm2, and the least tokens/s of the least-energy question.
AREA, TARGET = 2.0, 10.0
CHIP_GB_PER_S = (1.6, 3.2, 6.4, 12.8, 25.6)
#: SDRAM of 16 bits at 100 MHz, DDR3 behind 64 bits at 48 MHz, DDR3-800 of 8 and of 16 bits.
ECP5_GB_PER_S = (0.2, 0.384, 0.8, 1.6)
#: Family, weights, activations, PE whose sums were measured with, PE.
RECIPES = (
    ("FP16", FLOAT, FLOAT, "", "fp16-mac"),
    ("INT8", "int8", "int8", "", "int8-mac"),
    ("INT8", "int8", "int8", "", "int8-16"),
    ("MixPE", "int4", "int8", "", "mixpe-w4a8"),
    ("MixPE", "int4", "int8", "", "mixpe-w4a8-fp16"),
    ("MixPE", "int4:g128:e8m0", "int8", "", "mixpe-w4a8-shift"),
    ("MixPE", "int4-vs-s7:g128", "int8", "", "mixpe-w4a8-int8"),
    ("MixPE", "int4", FLOAT, "", "mixpe-w4a16"),
    ("BitMoD", "bitmod-fp4", FLOAT, "bitmod-fp4-aligned", "bitmod-fp4-aligned"),
    ("BitMoD", "bitmod-fp3", FLOAT, "bitmod-fp3-aligned", "bitmod-fp3-aligned"),
    ("dINT", "dint4", "int8", "", "dint4-mac"),
    ("dINT", "dint3", "int8", "", "dint3-mac"),
    ("MXFP4", "mxfp4", "mxfp4", "", "mxfp4-dot"),
    ("NVFP4", "nvfp4", "nvfp4:token", "", "nvfp4-dot"),
    ("ternary", "ternary", "int8", "", "ternary-16"),
)
FAMILIES = tuple(dict.fromkeys(recipe[0] for recipe in RECIPES))
#: Divergences from float32 that a design may have, nats a token; inf for any, measured or not.
LIMITS = (0.05, 0.2, 1.0, np.inf)
#: Share by which a winner must lead not to be a tie; share of the fastest that counts as fastest.
TIE, NEAR = 0.02, 0.01
QUESTIONS = {"fastest": "tokens_per_s", "least energy": "energy_j", "smallest": "area_mm2"}
TITLES = {"fastest": "most tokens/s", "least energy": "least J a token", "smallest": "least mm2"}
COLORS = dict(zip(FAMILIES, ["#666666", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00",
                             "#56b4e9", "#000000"], strict=True))  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A sentence of the text: its value is that of a query on a table."""

    study: str
    sentence: str
    query: str
    spec: str = ""


def accuracy_of(weights: str, activations: str, pe: str) -> AccuracyRow | None:
    """Return the measured row of a recipe; ``None`` if it was not measured."""
    wanted = {"weights": weights, "activations": activations, "pe": pe, "kv": FLOAT, "head": FLOAT}
    for row in find_accuracy(MODEL).rows:
        if row.method == "rtn" and all(getattr(row, k) == v for k, v in wanted.items()):
            return row
    return None


def pair_of(weights: str, activations: str, pe: str, element: str) -> Pair:
    """Return a recipe on its PE; without a measurement its divergence is not a number."""
    row = accuracy_of(weights, activations, pe) or AccuracyRow(
        weights=weights, activations=activations, pe=pe, bits_per_weight=np.nan, kl_nats=np.nan,
        kl_se=None, loss_nats=np.nan, loss_se=None, top1=np.nan, tokens=0,
    )  # fmt: skip
    return Pair(accuracy=row, record=load_record(element))


def grid_of(gb_per_s: float, fpga: str | None) -> Grid:
    """Return the machines of one memory: rows and clocks of ``qsim codesign``."""
    default = CodesignOptions()
    return Grid(
        rows=tuple(sorted(default.rows)),
        columns=(1,),
        memories=(Memory(kind="lpddr4" if fpga is None else "ddr4", gb_per_s=gb_per_s),),
        clocks_mhz=tuple(sorted(default.clock)),
        fpga=FPGAS[fpga] if fpga else None,
    )


def best(designs: Designs, question: str, fpga: str | None) -> int | None:
    """Return the place of the best machine for a question; ``None`` if none fits."""
    speed, energy = 1 / designs.time_s.ravel(), designs.energy_j.ravel()
    ok = designs.is_valid.ravel() & (fpga is not None or designs.area.ravel() <= AREA)
    if question != "fastest":
        ok = ok & (speed >= TARGET)
    if not ok.any():
        return None
    if question == "fastest":
        ok = ok & (speed >= (1 - NEAR) * speed[ok].max())
    cost = energy if question == "least energy" else designs.area.ravel()
    return int(np.flatnonzero(ok)[np.argmin(cost[ok])])


def measured(fpga: str | None, bandwidths: tuple[float, ...]) -> pd.DataFrame:
    """Return the best machine of each recipe for each memory and question."""
    shape, rows = load_model(MODEL), []
    questions = list(QUESTIONS)[: 1 if fpga else None]
    for family, weights, activations, pe, element in RECIPES:
        pair = pair_of(weights, activations, pe, element)
        work = token_work(shape, pair, context=CONTEXT)
        for gb_per_s in bandwidths:
            grid = grid_of(gb_per_s, fpga)
            designs = {kind: evaluate(grid, pair, work, energy=kind)
                       for kind in ("low", "nominal", "high")}  # fmt: skip
            for question in questions:
                place = best(designs["nominal"], question, fpga)
                if place is None:
                    continue
                one = grid.machine(place)
                joules = {k: d.energy_j.ravel()[place] for k, d in designs.items()}
                rows.append({
                    "question": question, "gb_per_s": gb_per_s, "family": family,
                    "weights": pair.weights, "activations": pair.activations, "element": element,
                    "rows": one.rows[0], "lanes": pair.record.lanes, "clock_mhz": one.clocks_mhz[0],
                    "tokens_per_s": 1 / designs["nominal"].time_s.ravel()[place],
                    **({} if fpga else {
                        "energy_j": joules["nominal"], "energy_low_j": joules["low"],
                        "energy_high_j": joules["high"]}),
                    "kluts" if fpga else "area_mm2": designs["nominal"].area.ravel()[place],
                    "kl_nats": pair.accuracy.kl_nats, "kl_se": pair.accuracy.kl_se,
                })  # fmt: skip
    return pd.DataFrame(rows)


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table as its CSV file has it, with five digits."""
    return table.map(lambda v: float(f"{v:.5g}") if isinstance(v, float) else v)


def wins(table: pd.DataFrame) -> pd.DataFrame:
    """Return the winner and the best of another family for each question, memory and limit."""
    rows = []
    for (question, gb_per_s), group in table.groupby(["question", "gb_per_s"]):
        for limit in LIMITS:
            few = group if limit == np.inf else group[group.kl_nats <= limit]
            if few.empty:
                continue
            by = QUESTIONS[question]
            score = few[by] if question == "fastest" else 1 / few[by]
            order = few.assign(score=score).sort_values("score", ascending=False)
            first = order.iloc[0]
            others = order[order.family != first.family]
            rows.append({
                "question": question, "gb_per_s": gb_per_s, "kl_limit": limit,
                "winner": first.family, "weights": first.weights, "element": first.element,
                "value": first[by],
                "runner_up": others.iloc[0].family if len(others) else "",
                "lead": first.score / others.iloc[0].score - 1 if len(others) else np.nan,
            })  # fmt: skip
    return pd.DataFrame(rows)


def claims() -> list[Claim]:
    """Return the sentences of the text; each ``{}`` is the value of its query."""
    found = []
    for gb in (CHIP_GB_PER_S[0], CHIP_GB_PER_S[-1]):
        is_fast = f"(chip.question == 'fastest') & (chip.gb_per_s == {gb})"
        rows = f"chip[{is_fast}]"
        most, fp16, int8 = (
            f"chip[{is_fast}{few}].tokens_per_s.max()"
            for few in ("", " & (chip.family == 'FP16')", " & (chip.family == 'INT8')")
        )
        where = f"At {gb:g} GB/s"
        found += [
            Claim(study="chip", sentence=f"{where} the fastest machine of any accuracy runs {{}} weights.",
                  query=f"{rows}.set_index('weights').tokens_per_s.idxmax()"),
            Claim(study="chip", sentence=f"{where} it has {{}} tokens/s.", query=most, spec=".3g"),
            Claim(study="chip", sentence=f"{where} it is {{}} times as fast as FP16.",
                  query=f"{most} / {fp16}", spec=".2f"),
            Claim(study="chip", sentence=f"{where} INT8 is {{}} times as fast as FP16.",
                  query=f"{int8} / {fp16}", spec=".2f"),
        ]  # fmt: skip
    least = "chip[(chip.question == 'least energy') & (chip.gb_per_s == 6.4)]"
    found += [
        Claim(study="chip", sentence="At 6.4 GB/s the least energy of a token is that of {} weights.",
              query=f"{least}.set_index('weights').energy_j.idxmin()"),
        Claim(study="chip", sentence="At 6.4 GB/s the recipe of most energy takes {} times as much.",
              query=f"{least}.energy_j.max() / {least}.energy_j.min()", spec=".2f"),
        Claim(study="chip", sentence=f"The smallest machine of {TARGET:g} tokens/s at 3.2 GB/s runs {{}} weights.",
              query="chip[(chip.question == 'smallest') & (chip.gb_per_s == 3.2)].set_index('weights').area_mm2.idxmin()"),
        Claim(study="chip", sentence=f"The smallest machine of {TARGET:g} tokens/s at 3.2 GB/s takes {{}} mm2.",
              query="chip[(chip.question == 'smallest') & (chip.gb_per_s == 3.2)].area_mm2.min()", spec=".2g"),
        Claim(study="chip", sentence="No machine that is the fastest of its recipe needs more than {} mm2.",
              query="chip[chip.question == 'fastest'].area_mm2.max()", spec=".2g"),
        Claim(study="chip", sentence="{} of the recipes were measured on this model.",
              query="len(chip.dropna(subset='kl_nats')[['weights', 'activations', 'element']].drop_duplicates())"),
    ]  # fmt: skip
    for family in FAMILIES:
        found.append(Claim(
            study="wins", sentence=f"Cells won by {family}: {{}}.",
            query=f"len(wins[wins.winner == '{family}'])",
        ))  # fmt: skip
    for question in QUESTIONS:
        found.append(Claim(
            study="wins", sentence=f"Cells of {TITLES[question]} in which the next family is within {TIE:.0%}: {{}}.",
            query=f"len(wins[(wins.question == '{question}') & (wins.lead < {TIE})])",
        ))  # fmt: skip
    for gb in (ECP5_GB_PER_S[0], ECP5_GB_PER_S[-1]):
        rows = f"ecp5[ecp5.gb_per_s == {gb}]"
        found += [
            Claim(study="ecp5", sentence=f"With {gb:g} GB/s the fastest machine that fits runs {{}} weights.",
                  query=f"{rows}.set_index('weights').tokens_per_s.idxmax()"),
            Claim(study="ecp5", sentence=f"With {gb:g} GB/s it has {{}} tokens/s.",
                  query=f"{rows}.tokens_per_s.max()", spec=".3g"),
            Claim(study="ecp5", sentence=f"With {gb:g} GB/s it takes {{}} thousand look-up tables.",
                  query=f"{rows}.set_index('kluts').tokens_per_s.idxmax()", spec=".3g"),
        ]  # fmt: skip
    found.append(Claim(
        study="ecp5", sentence=f"{{}} of {len(RECIPES)} recipes have a PE that was placed on an ECP5 and fits.",
        query="len(ecp5[['weights', 'activations', 'element']].drop_duplicates())",
    ))  # fmt: skip
    return found


def value_of(claim: Claim, tables: dict[str, pd.DataFrame]) -> str:
    """Return the value of a claim's query on the tables."""
    return format(eval(claim.query, {"__builtins__": {"len": len}}, tables), claim.spec)


def curves(table: pd.DataFrame, path: Path, title: str) -> None:
    """Draw tokens/s over bandwidth, the best recipe of each family."""
    figure, axes = plt.subplots(figsize=(7.5, 4.4), constrained_layout=True)
    ends = []
    for family in FAMILIES:
        of = table[(table.family == family) & (table.question == "fastest")]
        if of.empty:
            continue
        line = of.groupby("gb_per_s").tokens_per_s.max()
        axes.plot(line.index, line.values, marker="o", ms=4, color=COLORS[family])
        ends.append((line.values[-1], line.index[-1], family))
    axes.set(xscale="log", yscale="log", xlabel="memory bandwidth, GB/s (log)",
             ylabel="tokens/s, higher is better (log)", title=title)  # fmt: skip
    ticks = sorted(table.gb_per_s.unique())
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(base=10, subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda y, _: f"{y:g}"))
    _label_ends(axes, ends)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _label_ends(axes: plt.Axes, ends: list[tuple[float, float, str]]) -> None:
    """Write each family beside the end of its line, spread so that no two overlap."""
    low, high = axes.get_ylim()
    step = (np.log(high) - np.log(low)) / 19
    places, last = [], -np.inf
    for y, x, family in sorted(ends):
        last = max(np.log(y), last + step)
        places.append((last, x, y, family))
    top = np.log(high)
    for place, x, y, family in reversed(places):
        place = min(place, top)
        top = place - step
        axes.annotate(family, (x, y), xytext=(1.06, (place - np.log(low)) / np.log(high / low)),
                      textcoords=axes.transAxes, color=COLORS[family], va="center", fontsize=9,
                      arrowprops={"arrowstyle": "-", "color": COLORS[family], "lw": 0.6})  # fmt: skip


def energies(chip: pd.DataFrame, path: Path) -> None:
    """Draw the energy of a token of each recipe's least machine with its range."""
    of = chip[(chip.question == "least energy") & (chip.gb_per_s == 6.4)].sort_values("energy_j")
    figure, axes = plt.subplots(figsize=(7.5, 4.6), constrained_layout=True)
    names = [f"{row.weights} / {row.activations}, {row.element}" for row in of.itertuples()]
    error = np.array([of.energy_j - of.energy_low_j, of.energy_high_j - of.energy_j]) * 1e3
    axes.barh(names, of.energy_j * 1e3, xerr=error, height=0.65, ecolor="#444444", capsize=2,
              color=[COLORS[family] for family in of.family])  # fmt: skip
    axes.invert_yaxis()
    axes.set(xlabel="mJ a token, lower is better; lines from the low to the high estimate",
             title=f"Least energy at {TARGET:g} tokens/s or more, {AREA:g} mm2, 6.4 GB/s")  # fmt: skip
    axes.tick_params(axis="y", labelsize=8)
    axes.grid(alpha=0.3, axis="x")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def win_map(won: pd.DataFrame, path: Path) -> None:
    """Draw the winning family over bandwidth and accuracy limit, hatched where the next one ties."""
    figure, both = plt.subplots(1, 3, figsize=(12.5, 3.6), constrained_layout=True)
    for axes, question in zip(both, QUESTIONS, strict=True):
        of = won[won.question == question]
        for row in of.itertuples():
            x, y = CHIP_GB_PER_S.index(row.gb_per_s), LIMITS.index(row.kl_limit)
            is_tie = row.lead < TIE
            axes.add_patch(plt.Rectangle((x, y), 1, 1, facecolor=COLORS[row.winner], alpha=0.35,
                                         hatch="///" if is_tie else None, edgecolor="white"))  # fmt: skip
            axes.text(x + 0.5, y + 0.5, row.winner, ha="center", va="center", fontsize=8)
        axes.set(xlim=(0, len(CHIP_GB_PER_S)), ylim=(0, len(LIMITS)), title=TITLES[question],
                 xlabel="memory bandwidth, GB/s")  # fmt: skip
        axes.set_xticks(np.arange(len(CHIP_GB_PER_S)) + 0.5, [f"{gb:g}" for gb in CHIP_GB_PER_S])
        names = [
            "any, measured or not" if limit == np.inf else f"KL at most {limit:g}"
            for limit in LIMITS
        ]
        axes.set_yticks(
            np.arange(len(LIMITS)) + 0.5, names if axes is both[0] else [""] * len(LIMITS)
        )
        axes.tick_params(length=0)
    figure.savefig(path, dpi=110)
    plt.close(figure)


TEXT = """# Two worked designs for SmolLM2-135M

Which of BitMoD, MixPE, dINT, MXFP4, NVFP4, ternary and INT8 should a small machine compute in? Every
recipe below (formats of weights and activations, and the PE that reads them) is put on every machine
of `qsim codesign`'s grid: 1 to 256 rows, 25 to 1000 MHz, one token at once, {context} tokens of context.
`python reports/codesign/study.py` writes the tables, the figures and this page in seconds; each number in
the sentences is a query in `claims.csv` on the tables, and a test repeats all of them.

What the numbers are: tokens/s by the schedule of `roofline.accelerator.stream` at 0.85 of the bandwidth
(assumed); areas and energies of PEs by their netlists at 45 nm, buffers by a law, controller and memory
interface assumed, no wires and pads; the FP16 lm_head and attention on a processor beside the array that
is as fast as memory (assumed). Divergences are those of the table that `qsim codesign` ships
({accuracy}); recipes without a measurement have their
hardware alone and count only where any accuracy will do.

{level}

## 1. An edge chip of {area:g} mm2 at 45 nm, 1.6 to 25.6 GB/s

![tokens/s over bandwidth](chip_speed.png)

{chip_claims}

![energy of a token](chip_energy.png)

The winner of each cell below is the family with most tokens/s (left), and with the least energy of a token
or the least area at {target:g} tokens/s or more (middle and right), among recipes that keep a limit of
divergence. Cells are hatched where the next family is within {tie:.0%}. A cell is empty where no recipe was
measured within its limit and keeps the target.

![winners](chip_wins.png)

{wins_claims}

| weights | activations | PE | KL, nats | tokens/s at 1.6 GB/s | at 6.4 GB/s | at 25.6 GB/s | mJ a token at 6.4 GB/s | mm2 for {target:g} tokens/s at 6.4 GB/s |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
{chip_table}

## 2. A Lattice ECP5-85 with one DRAM chip

PEs count as they were placed and routed alone at 0.8 of their clock (assumed); DSP blocks are used as far
as they reach. 0.2 GB/s is an SDRAM of 16 bits at 100 MHz, 0.384 GB/s a DDR3 chip behind 64 bits at 48 MHz, 0.8
and 1.6 GB/s a DDR3-800 chip of 8 and 16 bits. Energy is not modelled.

![tokens/s on the FPGA](ecp5_speed.png)

{ecp5_claims}

| weights | activations | PE | rows | MHz | kLUT | tokens/s at 0.2 GB/s | at 0.384 GB/s | at 1.6 GB/s |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
{ecp5_table}
"""


KEYS = ["family", "weights", "activations", "element"]


def number(value: float, spec: str = ".3g") -> str:
    """Return a cell of a table; a dash where there is no number."""
    return "-" if pd.isna(value) else f"{value:{spec}}"


def chip_lines(chip: pd.DataFrame) -> str:
    """Return the table of the chip's recipes."""
    lines = []
    for (_, weights, activations, element), of in chip.groupby(KEYS, sort=False):
        fast = of[of.question == "fastest"].set_index("gb_per_s")
        least = of[of.question == "least energy"].set_index("gb_per_s").energy_j
        cells = [weights, activations, element, number(of.kl_nats.iloc[0])]
        cells += [number(fast.tokens_per_s.get(gb, np.nan)) for gb in (1.6, 6.4, 25.6)]
        small = of[of.question == "smallest"].set_index("gb_per_s").area_mm2
        cells += [number(1e3 * least.get(6.4, np.nan)), number(small.get(6.4, np.nan), ".2g")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def ecp5_lines(ecp5: pd.DataFrame) -> str:
    """Return the table of the FPGA's recipes, with the machine of the fastest memory."""
    lines = []
    for (_, weights, activations, element), of in ecp5.groupby(KEYS, sort=False):
        speed, last = of.set_index("gb_per_s").tokens_per_s, of.iloc[-1]
        cells = [weights, activations, element, f"{last['rows']}", f"{last.clock_mhz:g}"]
        cells += [number(last.kluts), *(number(speed.get(gb, np.nan)) for gb in (0.2, 0.384, 1.6))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    chip, ecp5 = rounded(measured(None, CHIP_GB_PER_S)), rounded(measured("ecp5-85", ECP5_GB_PER_S))
    won = rounded(wins(chip))
    tables = {"chip": chip, "ecp5": ecp5, "wins": won}
    for name, table in tables.items():
        table.to_csv(HERE / f"{name}.csv", index=False, lineterminator="\n")
    values = {one: value_of(one, tables) for one in claims()}
    stated = {one: one.sentence.format(value) for one, value in values.items()}
    frame = pd.DataFrame(
        {"study": one.study, "sentence": stated[one], "value": value, "spec": one.spec,
         "query": one.query} for one, value in values.items()
    )  # fmt: skip
    frame.to_csv(HERE / "claims.csv", index=False, lineterminator="\n")
    curves(chip, HERE / "chip_speed.png", f"Fastest machine of each family in {AREA:g} mm2")
    energies(chip, HERE / "chip_energy.png")
    win_map(won, HERE / "chip_wins.png")
    curves(ecp5, HERE / "ecp5_speed.png", "Fastest machine of each family on an ECP5-85")
    about = dict(find_accuracy(MODEL).about)

    def listed(study: str) -> str:
        return "\n".join(f"- {text}" for one, text in stated.items() if one.study == study)

    (HERE / "README.md").write_text(TEXT.format(
        level=level_note(), context=CONTEXT, area=AREA, target=TARGET, tie=TIE,
        accuracy=f"{about.get('model', MODEL)}, {about.get('sample', '')}",
        chip_claims=listed("chip"), wins_claims=listed("wins"),
        ecp5_claims=listed("ecp5"), chip_table=chip_lines(chip), ecp5_table=ecp5_lines(ecp5),
    ))  # fmt: skip


if __name__ == "__main__":
    main()
