"""What BitMoD's truncating PE costs in perplexity: ``python reports/pe_accuracy/study.py``.

Takes about ten minutes and needs nothing but qsim.
"""

from pathlib import Path

from sim.report import write_report
from sim.report.study import Points, write_study
from sim.sweep.command import run_sweep
from sim.sweep.options import SweepOptions

HERE = Path(__file__).parent
FORMATS = ("bitmod-fp4", "bitmod-fp3", "int4", "int8")
TEXT = """
BitMoD's PE drops bits: significands of activations are aligned to the largest exponent of a cycle with
three guard bits, and the accumulator of a group has fifteen. Here every product of every linear layer
of the embedded model is computed as that PE computes it, bit for bit (`qsim sweep --pe NAME`; the same
model that the emitted Verilog is verified against), on activations rounded to FP16; scales and sums
of groups are float32. Beside it stand the same weights with float32 products.

| weights | products | loss (nats) | KL to float32 | change of KL |
| --- | --- | ---: | ---: | ---: |
{rows}

With weights of four bits and fewer the last column stays within {few:.1%}: the weights' own errors
hide what the PE drops. Weights of eight bits lose so little themselves that truncation is {times:.1f} times
their KL, and moves their loss from {eight} to {cut} nats. The PE that rounds takes more area
(`reports/pe_costs`).
"""


def rows(points: Points) -> str:
    lines = []
    for fmt in FORMATS:
        base = points[fmt]
        kinds = {"float32": fmt} | {
            kind: f"{fmt}, {kind} PE"
            for kind in ("rounding", "truncating")
            if any(p.recipe == f"{fmt}, {kind} PE" for p in points.results)
        }
        for kind, recipe in kinds.items():
            found = points[recipe]
            change = f"{found.kl_mean / base.kl_mean - 1:+.2%}" if found is not base else ""
            lines.append(
                f"| {fmt} | {kind} | {points.loss(recipe)} | {found.kl_mean:.5f} | {change} |"
            )
    return "\n".join(lines)


def main() -> None:
    options = SweepOptions(recipes=HERE / "recipes.toml", out=HERE / "build")
    outcome = run_sweep(options)
    write_report(outcome.results, options.out, provenance=outcome.provenance)
    points = Points(outcome.results)
    changes = [points[f"{f}, truncating PE"].kl_mean / points[f].kl_mean - 1 for f in FORMATS]
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
    )
    print(path)


if __name__ == "__main__":
    main()
