"""What number formats cost the embedded model: ``python reports/embedded_formats/study.py``.

Takes less than three minutes and needs nothing but qsim.
"""

from pathlib import Path

from sim.report import write_report
from sim.report.study import Points, write_study
from sim.sweep.command import run_sweep
from sim.sweep.options import SweepOptions

HERE = Path(__file__).parent
TEXT = """
The embedded model is small and has no outlier channels to speak of, so it shows what bits do and not
what large models do. All linear layers are quantized by rounding to nearest, without calibration;
embeddings stay in float32.

**It separates the bit widths far beyond the error bars**: {widths}. Eight bits cost next to nothing;
below four bits the loss grows steeply with each bit taken away.

**It hardly separates the 4-bit formats from each other**: {four}. Where two of them are within two
standard errors, this study does not say which is better.

**Activations and cache** in eight bits cost little here: {inputs}.
"""


def main() -> None:
    options = SweepOptions(recipes=HERE / "recipes.toml", out=HERE / "build")
    outcome = run_sweep(options)
    write_report(outcome.results, options.out, provenance=outcome.provenance)
    points = Points(outcome.results)
    text = TEXT.format(
        widths=points.ranked("int8", "int6", "int4", "int3", "int2", "ternary"),
        four=points.ranked("int4", "int4-asym", "fp4", "nf4", "mxfp4", "nvfp4"),
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
