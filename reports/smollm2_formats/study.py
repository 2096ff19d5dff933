"""What number formats cost SmolLM2-135M.

``python reports/smollm2_formats/study.py --text wikitext2.txt``; the model must be fetched before:
``qsim models fetch smollm2-135m-instruct``. Takes about a minute a point on two idle cores and resumes
where it was stopped. The text is the WikiText-2 raw test split, which its licence keeps out of this
repository.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from sim.report import write_report
from sim.report.study import Points, write_study
from sim.report.table import markdown_table, with_error
from sim.sweep.command import run_sweep
from sim.sweep.options import SweepOptions

HERE = Path(__file__).parent
#: The formats whose order the source's grid could change.
CONTROL = ("int4", "int4-asym", "int4-floatmin", "fp4")
TEXT = """
SmolLM2-135M-Instruct on 32,768 tokens of the WikiText-2 raw test split. Linear layers are quantized
by rounding to nearest, without calibration; embeddings stay in float32. A model of this size is far
more fragile than the 7B models of the papers: orders of formats mostly carry over, sizes of losses
do not.

**Weights.** {weights}.

**Weights and activations.** {activations}. On weights alone {eight_bits}; with activations
{eight_bit_inputs}.

**KV cache.** {cache}.

## What the source's grid biases

The published file holds the linear weights in Q4_1: blocks of 32 on an asymmetric grid of 16 levels.
A format that contains that grid reproduces them exactly: int4-floatmin, the scheme of Q4_1 itself,
measures {floatmin} nats, which says nothing about the format. Formats whose grids lie near it,
asymmetric INT4 above all, are flattered; and every loss is relative to a model that has lost accuracy
already. Conclusions between asymmetric INT4 and FP4 or NF4 must not rest on this table alone:
[minilm_formats](../minilm_formats) repeats them on weights that no grid has touched.

As a control, the same formats on the model with uniform noise of one grid step on every linear weight
(`--dither-source`, seed 0), each against the float32 run of that noisy model:

{control}
On the grid int4-asym loses {asym} and fp4 {fp4}; without it {dithered_asym} and {dithered_fp4}. The
noise takes the grid away and adds an error about as large as Q4_1's own; it does not bring the original
weights back.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=Path, required=True, help="WikiText-2 raw test split")
    parser.add_argument("--work", type=Path, default=HERE / "build", help="stores of the sweeps")
    args = parser.parse_args()
    options = SweepOptions(
        recipes=HERE / "recipes.toml",
        model="smollm2-135m-instruct",
        text=args.text,
        tokens=32768,
        spread=True,
        out=args.work,
    )
    outcome = run_sweep(options)
    write_report(outcome.results, options.out, provenance=outcome.provenance)
    noisy = replace(
        options, recipes=None, formats=CONTROL, dither_source=True, out=args.work / "dithered"
    )
    dithered = run_sweep(noisy)
    path = write_study(
        HERE,
        title="Number formats on SmolLM2-135M",
        text=_text(Points(outcome.results), Points(dithered.results)),
        results=outcome.results,
        provenance=outcome.provenance,
        sweep_directory=options.out,
    )
    print(path)


def _nearer(points: Points, first: str, second: str) -> str:
    """Say which of two recipes is nearer to float32, if the difference exceeds its error."""
    mean, half = points.change(first, second)
    if half is not None and abs(mean) <= half:
        return f"{first} and {second} are equally near within the error"
    near, far = (first, second) if mean < 0 else (second, first)
    return f"{near} is nearer to float32 than {far} by {with_error(abs(mean), half, '.4f')} nats"


def _text(points: Points, dithered: Points) -> str:
    return TEXT.format(
        weights=points.ranked(
            "int8", "int6", "int4", "int3", "int2", "ternary", "fp8_e4m3", "fp6_e2m3", "fp4",
            "nf4", "mxfp4", "nvfp4",
        ),
        activations=points.ranked(
            "w=int8,a=int8", "w=fp8_e4m3,a=fp8_e4m3", "w=fp4,a=fp4:g128", "w=mxfp4,a=mxfp4",
            "w=nvfp4,a=nvfp4:token",
        ),
        cache=points.ranked("kv=int8", "kv=fp8_e4m3", "kv=fp4:g64", "kv=mxfp4", "kv=nvfp4:token"),
        eight_bits=_nearer(points, "int8", "fp8_e4m3"),
        eight_bit_inputs=_nearer(points, "w=int8,a=int8", "w=fp8_e4m3,a=fp8_e4m3"),
        floatmin=points.loss("int4-floatmin"),
        control=markdown_table(dithered.results),
        asym=points.loss("int4-asym"),
        fp4=points.loss("fp4"),
        dithered_asym=dithered.loss("int4-asym"),
        dithered_fp4=dithered.loss("fp4"),
    )  # fmt: skip


if __name__ == "__main__":
    main()
