"""bitnet.cpp's published speeds beside predictions: ``python reports/bitnet_cpp/study.py``.

Takes seconds. ``points.csv`` has the published decode and prompt speeds; no constant is fitted to
them.
"""

import platform
from importlib.metadata import version
from pathlib import Path

import matplotlib
import numpy as np

from roofline.kernels.efficiency import fitted
from roofline.measured.validate import Scored, validate

matplotlib.use("agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
KERNELS = {
    "gguf-f16": ("0.55", "s"),
    "tl1": ("#0072B2", "o"),
    "tl2": ("#D55E00", "^"),
    "i2_s": ("#009E73", "D"),
}
TEXT = """# bitnet.cpp: predicted against published speeds

Tokens a second of random models of nominal sizes (2024: TL2 on the i7, TL1 on the M2 Ultra, and
llama.cpp in FP16), and of BitNet b1.58 2B 4T with the kernels of January 2026. `expected` uses shares
of the peaks that were fitted on other runs (`python -m roofline.measured.calibration`), `bound` none of them;
nothing is tuned for a row. Numbers of these machines are from memory of data sheets, not confirmed.

{scores}

![Expected against published](speeds.png)

What the errors say:

- **FP16** is expected {f16_ratio:.2f} times as fast as published on the M2 Ultra and {i7_ratio:.2f} times on the
  i7. Processors are expected to reach {share:.0%} of their bandwidth, the median of desktop ones with two
  channels, and the i7 what a laptop of its design was measured to read, 71 %.
- **TL1 and TL2** take as long as the instructions of their loops, counted: 7 for a vector of lookups in
  TL1, 15.5 in TL2 with its signs, at 70 % of the rate of the ports, which bitnet.cpp's kernels of I2_S reach
  by themselves. TL1 is expected {tl1_ratio:.2f} times as fast as published, TL2 on the i7 {tl2_ratio:.2f} times, with FP16.
- **Small models** start too slowly here: threads wait for the last of them, and all cores are taken to have
  one. The figures don't say how many were used.
- **I2_S** unpacks weights in its loop for each token: 3.75 instructions for a vector of weights, counted
  (`roofline.kernels.loops`). Tokens of a prompt share that work.
- **Threads** of one processor share its memory: the i7-13800H gains nothing from two to six threads,
  at a quarter of the bandwidth of its data sheet, nor is it half as fast in prompts as the others. Nothing
  in the model explains that.

## Every row

{rows}

Made by `python reports/bitnet_cpp/study.py` with qsim {qsim}, numpy {numpy}, Python {python} on {machine};
nothing is random.
"""


def table(headings: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def figure(rows: tuple[Scored, ...]) -> None:
    """Draw expected against published speeds, one marker for each kernel."""
    drawing, axes = plt.subplots(figsize=(6.0, 5.2), layout="constrained")
    for kernel, (color, marker) in KERNELS.items():
        chosen = [row for row in rows if row.point.weight_format == kernel]
        x = [row.point.tokens_per_s for row in chosen]
        axes.scatter(x, [row.expected for row in chosen], c=color, marker=marker, label=kernel)
    ends = [1.0, 1000.0]
    axes.plot(ends, ends, color="0.2", lw=1)
    for factor in (1.3, 1 / 1.3):
        axes.plot(ends, [end * factor for end in ends], color="0.6", lw=0.8, ls="--")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="published (tokens/s)",
        ylabel="expected (tokens/s); dashed: 30 % off",
    )
    axes.legend(frameon=False)
    drawing.savefig(HERE / "speeds.png", dpi=130, metadata={"Software": None})


def main() -> None:
    """Write the figure and README.md."""
    found = validate(HERE / "points.csv")
    figure(found.scored)

    def middle(weights: str, device: str) -> float:
        rows = [row for row in found.scored if row.point.weight_format == weights]
        return float(np.median([row.ratio for row in rows if device in row.point.device]))

    scores = [
        [
            *score.group,
            str(score.rows),
            f"{score.holds:.0%}",
            f"{score.median_ratio:.2f}",
            f"{score.mean_error:.0%}",
            f"{score.p90_error:.0%}",
        ]
        for score in found.scores
    ]
    rows = [
        [
            row.point.device,
            row.point.model,
            row.point.weight_format,
            row.point.phase,
            f"{row.point.tokens_per_s:g}",
            f"{row.expected:.3g}",
            f"{row.bound:.3g}",
            f"{row.ratio - 1:+.0%}",
        ]
        for row in found.scored
    ]
    text = TEXT.format(
        scores=table(
            [
                "kind",
                "phase",
                "path",
                "rows",
                "bound holds",
                "median ratio",
                "mean error",
                "90 % error",
            ],
            scores,
        ),
        rows=table(
            ["device", "model", "weights", "phase", "published", "expected", "bound", "error"], rows
        ),
        f16_ratio=middle("gguf-f16", "M2"),
        i7_ratio=middle("gguf-f16", "i7"),
        tl1_ratio=middle("tl1", "M2"),
        tl2_ratio=middle("tl2", "i7"),
        share=fitted().cpu_memory_share,
        qsim=version("qsim-codesign"),
        numpy=np.__version__,
        python=platform.python_version(),
        machine=f"{platform.system()} {platform.machine()}",
    )
    (HERE / "README.md").write_text(text)
    print(HERE / "README.md")


if __name__ == "__main__":
    main()
