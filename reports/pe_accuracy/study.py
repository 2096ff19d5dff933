"""What BitMoD's truncating PE costs in accuracy: ``python reports/pe_accuracy/study.py``.

Takes about ten minutes on an idle machine, needs nothing but qsim, and resumes where it was stopped.
"""

from pathlib import Path

from sim.report import write_report
from sim.report.study import Points, write_study
from sim.report.style import drawing, new_figure, png
from sim.report.table import with_error
from sim.report.write import replace_files
from sim.sweep.command import run_sweep
from sim.sweep.options import SweepOptions

HERE = Path(__file__).parent
FORMATS = ("bitmod-fp4", "bitmod-fp3", "int4", "int8")
KINDS = {"rounding": ("#0072B2", "o"), "truncating": ("#D55E00", "s")}
TEXT = """
BitMoD's PE drops bits: significands of activations are aligned to the largest exponent of a cycle with
three guard bits, and the accumulator of a group has fifteen. Here every dot product of every linear
layer of the embedded model is computed as that PE computes it, bit for bit (`qsim sweep --pe NAME`; the
same model that the emitted Verilog is verified against), on activations rounded to FP16; scales and
sums of groups are float32. It is compared with the same weights and float32 dot products.

| weights | dot products | loss (nats) | KL to float32 | change of KL (1e-6 nats) | relative |
| --- | --- | ---: | ---: | ---: | ---: |
{rows}

![What each PE adds to the KL divergence](changes.png)

With weights of four bits and fewer the PE changes the KL divergence by at most {few:.1%}: the weights'
own errors are much larger. Weights of eight bits lose so little themselves that truncation adds
{times:.1f} times their KL divergence, and moves the loss from {eight} to {cut} nats. The PE that rounds
takes more area (`reports/pe_costs`). Changes are paired differences over the same windows.
"""


def compared(points: Points) -> list[tuple[str, str, str]]:
    """Return weights, kind of PE and recipe of each point that has float32 products beside it."""
    names = {p.recipe for p in points.results}
    return [
        (fmt, kind, name)
        for fmt in FORMATS
        for kind in KINDS
        if (name := f"{fmt}, {kind} PE") in names
    ]


def rows(points: Points) -> str:
    lines = []
    for fmt in FORMATS:
        lines.append(f"| {fmt} | float32 | {points.loss(fmt)} | {points.kl(fmt)} | | |")
        for _, kind, recipe in (row for row in compared(points) if row[0] == fmt):
            mean, half = points.change(recipe, fmt)
            change = with_error(1e6 * mean, None if half is None else 1e6 * half, "+.0f")
            relative = f"{points[recipe].kl_mean / points[fmt].kl_mean - 1:+.2%}"
            lines.append(
                f"| {fmt} | {kind} | {points.loss(recipe)} | {points.kl(recipe)} | {change} | "
                f"{relative} |"
            )
    return "\n".join(lines)


def figure(points: Points) -> bytes:
    """Draw what each PE adds to the divergence of the same weights with float32 products."""
    shown = compared(points)
    with drawing():
        picture = new_figure(8.0, 3.2)
        axes = picture.add_subplot()
        for place, (fmt, kind, recipe) in enumerate(shown):
            mean, half = points.change(recipe, fmt)
            color, marker = KINDS[kind]
            axes.errorbar(1e6 * mean, place, xerr=1e6 * (half or 0), color=color, marker=marker,
                          capsize=3, linestyle="none",
                          label=kind if kind not in axes.get_legend_handles_labels()[1] else None)  # fmt: skip
        axes.axvline(0, color="0.2", linewidth=0.8)
        axes.set_yticks(range(len(shown)), [f"{fmt}, {kind}" for fmt, kind, _ in shown])
        axes.invert_yaxis()
        axes.grid(axis="x", color="0.92")
        axes.set_xlabel("change of the KL divergence from float32 (1e-6 nats per token)")
        picture.suptitle(
            "What a PE that rounds or truncates adds to the divergence", x=0.01, ha="left"
        )
        axes.set_title(
            "against float32 dot products; bars: 95 % interval, paired over windows", color="0.35"
        )
        axes.legend(fontsize=8, edgecolor="none")
    return png(picture)


def main() -> None:
    options = SweepOptions(recipes=HERE / "recipes.toml", out=HERE / "build")
    outcome = run_sweep(options)
    write_report(outcome.results, options.out, provenance=outcome.provenance)
    points = Points(outcome.results)
    changes = [points[f"{f}, truncating PE"].kl_mean / points[f].kl_mean - 1 for f in FORMATS]
    replace_files(HERE, {"changes.png": figure(points)})
    path = write_study(
        HERE,
        title="What truncation in a PE costs",
        text=TEXT.format(
            rows=rows(points),
            few=max(abs(change) for change in changes[:-1]),
            times=changes[-1],
            eight=points.loss("int8"),
            cut=points.loss("int8, truncating PE"),
        ),
        results=outcome.results,
        provenance=outcome.provenance,
        sweep_directory=options.out,
        kept=("results.csv", "report.html"),
    )
    print(path)


if __name__ == "__main__":
    main()
