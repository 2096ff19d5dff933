"""What number formats cost the embedded model: ``python reports/embedded_formats/study.py``.

Takes less than three minutes on an idle machine and needs nothing but qsim.
"""

from pathlib import Path

from sim.report import write_report
from sim.report.ranking import rank
from sim.report.study import Points, write_study
from sim.sweep.command import run_sweep
from sim.sweep.options import SweepOptions

HERE = Path(__file__).parent
FOUR_BITS = ("int4", "int4-asym", "fp4", "nf4", "mxfp4", "nvfp4")
TEXT = """
The embedded model is small and has hardly any outlier channels, so it shows what bits do and not what
large models do. All linear layers are quantized by rounding to nearest, without calibration; embeddings
stay in float32.

**Bit widths are far apart**: {widths}. Eight bits cost next to nothing; below four bits the divergence
grows steeply with each bit taken away.

**4-bit formats**, from the nearest to float32: {four}. They store 4.1 to 4.5 bits per weight; formats
with smaller blocks store more. {ties}

**Activations and cache** in eight bits cost little here: {inputs}.
"""


def ties(points: Points) -> str:
    """Say which of the 4-bit formats the paired tests cannot separate from a better one."""
    tied = {row.point.recipe: row.tied_with for row in rank(points.results) if row.tied_with}
    found = [f"{name} ties with {tied[name]}" for name in FOUR_BITS if name in tied]
    return f"Within the error: {', '.join(found)}." if found else "No two of like bits tie."


def main() -> None:
    options = SweepOptions(recipes=HERE / "recipes.toml", out=HERE / "build")
    outcome = run_sweep(options)
    write_report(outcome.results, options.out, provenance=outcome.provenance)
    points = Points(outcome.results)
    text = TEXT.format(
        widths=points.ranked("int8", "int6", "int4", "int3", "int2", "ternary"),
        four=points.ranked(*FOUR_BITS),
        ties=ties(points),
        inputs=points.ranked("w=int8,a=int8", "kv=int8"),
    )
    path = write_study(
        HERE,
        title="Number formats on the embedded model",
        text=text,
        results=outcome.results,
        provenance=outcome.provenance,
        sweep_directory=options.out,
    )
    print(path)


if __name__ == "__main__":
    main()
