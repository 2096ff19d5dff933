"""What number formats cost SmolLM2-135M.

``python reports/smollm2_formats/study.py --text wikitext2.txt``; the model must be fetched before:
``qsim models fetch smollm2-135m-instruct``. Takes about a minute a point on two cores and goes on
where it was stopped. The text is the WikiText-2 raw test split, which its licence keeps out of this
repository.
"""

import argparse
from pathlib import Path

from sim.report.study import Points, write_study
from sim.sweep.command import SweepOptions, run_sweep

HERE = Path(__file__).parent
TEXT = """
SmolLM2-135M-Instruct on 32,768 tokens of the WikiText-2 raw test split. Linear layers are quantized by
rounding to nearest, without calibration; embeddings stay in float32. A model of this size is far more
fragile than the 7B models of the papers: orders of formats mostly carry over, sizes of losses do not.

**Weights.** {weights}.

**Weights and activations in eight bits.** {activations}; the weights alone: {eight}.

**KV cache.** {cache}.

## What the source's grid biases

The published file holds the linear weights in Q4_1: blocks of 32 on an asymmetric grid of 16 levels. A
format that contains that grid reproduces them almost without loss: int4-floatmin, the scheme of Q4_1
itself, measures {floatmin} nats, which says nothing about the format. Formats whose grids lie near it,
asymmetric INT4 above all, are flattered, and every loss is relative to a model that has lost accuracy
already. Conclusions between asymmetric INT4 and FP4 or NF4 must not rest on this table alone; the same
sweep with `--dither-source` is the control.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=Path, required=True, help="WikiText-2 raw test split")
    parser.add_argument("--work", type=Path, default=HERE / "build", help="store of the sweep")
    args = parser.parse_args()
    outcome = run_sweep(
        SweepOptions(
            recipes=HERE / "recipes.toml",
            model="smollm2-135m-instruct",
            text=args.text,
            tokens=32768,
            spread=True,
            out=args.work,
        )
    )
    points = Points(outcome.results)
    text = TEXT.format(
        weights=points.ranked(
            "int8", "fp8_e4m3", "int6", "int5", "int4", "int4-asym", "fp4", "nf4", "mxfp4",
            "nvfp4", "int3",
        ),
        activations=points.ranked("w=int8,a=int8", "w=fp8_e4m3,a=fp8_e4m3"),
        eight=points.ranked("int8", "fp8_e4m3"),
        cache=points.ranked("kv=int8", "kv=fp8_e4m3"),
        floatmin=points.loss("int4-floatmin"),
    )  # fmt: skip
    path = write_study(
        HERE,
        title="Number formats on SmolLM2-135M",
        text=text,
        results=outcome.results,
        provenance=outcome.provenance,
        sweep_directory=args.work,
    )
    print(path)


if __name__ == "__main__":
    main()
