"""What weight formats cost the embeddings of all-MiniLM-L6-v2, beside what they cost SmolLM2-135M.

``python reports/minilm_formats/study.py``; the model must be fetched before: ``qsim models fetch
all-minilm-l6-v2``. The text is the embedded model's held-out text. Takes about a minute. Losses of
SmolLM2 are read from ``reports/smollm2_formats/results.csv``.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from numerics import parse_scheme
from sim.encoder.evaluate import EncoderBench, EncoderResult, sentences
from sim.encoder.figure import encoder_figure
from sim.encoder.reader import open_minilm
from sim.report.study import provenance_table
from sim.report.style import png
from sim.report.table import with_error
from sim.report.write import replace_files
from sim.sources.embedded import held_out_text
from sim.sources.known import ALL_MINILM_L6_V2
from sim.sweep.command import make_provenance
from sim.sweep.statistics import half_width

HERE = Path(__file__).parent
SMOLLM2 = HERE.parent / "smollm2_formats" / "results.csv"
FORMATS = (
    "int8", "int7", "int6", "int5", "int4", "int3", "int2", "ternary",
    "int8-asym", "int4-asym", "int3-asym", "int4-floatmin",
    "fp8_e4m3", "fp8_e5m2", "fp6_e2m3", "fp6_e3m2", "fp4", "nf4",
    "mxint8", "mxfp8_e4m3", "mxfp6_e2m3", "mxfp4", "mxfp4-rceil", "nvfp4",
)  # fmt: skip
#: Pairs whose order the grid of SmolLM2's source could change: an integer format and a float one.
PAIRS = (
    ("int4", "fp4"),
    ("int4-asym", "fp4"),
    ("int4-floatmin", "fp4"),
    ("int4-asym", "nf4"),
    ("int4-floatmin", "nf4"),
    ("int4-floatmin", "nvfp4"),
    ("int4-asym", "nvfp4"),
)
SENTENCES = 512
TITLE = "Weight formats on all-MiniLM-L6-v2"
TEXT = """
all-MiniLM-L6-v2 is a sentence encoder of 22.7 M parameters with true float32 weights (d = 384, three
groups of 128), so no grid of a source favours any format. All 36 linear layers are quantized by
rounding to nearest, without calibration; embeddings of words stay in float32. The loss is 1 - cosine
between a sentence's embedding and the float model's, over {count} lines of the held-out text.

## INT4 against FP4: where the two models disagree

The weights of SmolLM2-135M-Instruct come from a Q4_1 file, an asymmetric 4-bit grid in blocks of 32;
[its study](../smollm2_formats) warns that integer formats near that grid look better than they are.
Here the same pairs on unbiased weights:

{pairs}
{verdict}

![Embedding loss against bits per weight](loss.png)

## All results

{table}
Loss: mean of 1 - cosine with its 95 % confidence interval over sentences. SQNR: median over the quantized
matrices. The same numbers are in [results.csv](results.csv).

## How this was made

{provenance}"""


def main() -> None:
    text = held_out_text()
    bench = EncoderBench(open_minilm(), sentences(text.content, SENTENCES))
    results = [bench.measure(name, parse_scheme(name)) for name in FORMATS]
    hashes = {"model": ALL_MINILM_L6_V2.members[0].sha256, "text": text.sha256}
    provenance = make_provenance(hashes, seed=None)
    page = f"# {TITLE}\n" + TEXT.format(
        count=SENTENCES,
        pairs=pair_table(results),
        verdict=verdict(results),
        table=result_table(results),
        provenance=provenance_table(provenance),
    )
    files = {
        "README.md": page.encode(),
        "loss.png": png(encoder_figure(TITLE, results, sentences=SENTENCES)),
        "results.csv": results_csv(results).encode(),
    }
    print(*replace_files(HERE, files), sep="\n")


def smollm2_losses() -> dict[str, float]:
    with SMOLLM2.open(encoding="utf-8", newline="") as file:
        return {row["recipe"]: float(row["delta_nats"]) for row in csv.DictReader(file)}


def winners(results: Sequence[EncoderResult]) -> list[tuple[str, str, str, str]]:
    """For each pair, which of the two loses less on MiniLM and which on SmolLM2."""
    minilm, smollm2 = {r.recipe: r.cosine_loss for r in results}, smollm2_losses()
    return [
        (a, b, min(a, b, key=minilm.__getitem__), min(a, b, key=smollm2.__getitem__))
        for a, b in PAIRS
    ]


def pair_table(results: Sequence[EncoderResult]) -> str:
    minilm, smollm2 = {r.recipe: r.cosine_loss for r in results}, smollm2_losses()
    rows = [
        "| pair | MiniLM: 1 - cosine | SmolLM2: nats | better on MiniLM | on SmolLM2 |",
        "|---|---:|---:|---|---|",
    ]
    for a, b, here, there in winners(results):
        rows.append(
            f"| {a} / {b} | {minilm[a]:.4f} / {minilm[b]:.4f} | "
            f"{smollm2[a]:+.3f} / {smollm2[b]:+.3f} | {here} | "
            f"{there if there == here else f'**{there}**'} |"
        )
    return "\n".join(rows) + "\n"


def verdict(results: Sequence[EncoderResult]) -> str:
    turned = [f"{a} against {b}" for a, b, here, there in winners(results) if here != there]
    if not turned:
        return "The two models agree on the order of every pair."
    return f"They disagree on {', '.join(turned)} (bold): there SmolLM2's grid, not the format, decides."


def result_table(results: Sequence[EncoderResult]) -> str:
    rows = [
        "| format | bits/weight | loss (1 - cosine) | 99th percentile | SQNR (dB) |",
        "|---|---:|---:|---:|---:|",
    ]
    rows += [
        f"| {r.recipe} | {r.bits_per_weight:.3f} | "
        f"{with_error(r.cosine_loss, half_width(r.cosine_loss_se, SENTENCES), '.6f')} | "
        f"{r.cosine_loss_p99:.6f} | {r.median_sqnr_db:.2f} |"
        for r in sorted(results, key=lambda r: r.cosine_loss)
    ]
    return "\n".join(rows) + "\n"


def results_csv(results: Sequence[EncoderResult]) -> str:
    heads = "recipe,bits_per_weight,cosine_loss,cosine_loss_se,cosine_loss_p99,median_sqnr_db"
    rows = [
        f"{r.recipe},{r.bits_per_weight},{r.cosine_loss},{r.cosine_loss_se},{r.cosine_loss_p99},"
        f"{r.median_sqnr_db}"
        for r in results
    ]
    return "\n".join([heads, *rows]) + "\n"


if __name__ == "__main__":
    main()
