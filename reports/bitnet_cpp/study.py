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

Tokens per second of models with random weights and nominal sizes (2024: TL2 on the i7, TL1 on the M2
Ultra, and llama.cpp in FP16), and of BitNet b1.58 2B 4T with the kernels of January 2026. `bound` assumes
the peak rates of the machine; `expected` assumes fractions of them that were fitted to other runs
(`python -m roofline.measured.calibration`). No constant is fitted to these rows. The machines' numbers are
recalled from data sheets and not confirmed.

{scores}

![Expected against published](speeds.png)

What the errors say:

- **FP16** is expected {f16_ratio:.2f} times as fast as published on the M2 Ultra and {i7_ratio:.2f} times on the
  i7. CPUs are expected to reach {share:.0%} of their memory bandwidth, the median of desktop CPUs with two
  channels; the i7 is expected to reach 71 %, as measured on a laptop with the same design.
- **TL1 and TL2** are bound by the instructions of their inner loops: 7 per vector of lookups in TL1, 15.5
  in TL2, which also applies signs, issued at 70 % of the peak port rate. bitnet.cpp's I2_S kernels reach the
  same 70 %. TL1 is expected {tl1_ratio:.2f} times as fast as published, TL2 on the i7 {tl2_ratio:.2f} times, with FP16.
- **Small models** are predicted too slow: the model adds the cost of synchronizing one thread per core after
  each operator, and the published figures do not state the number of threads.
- **I2_S** unpacks the weights again for each token: 3.75 instructions per vector of weights
  (`roofline.kernels.loops`). In prefill, the tokens of the prompt share that work.
- **Threads** share the memory bandwidth: the published i7-13800H gains nothing from two to six threads,
  although it reads only a quarter of its data-sheet bandwidth, and its prefill is less than half as fast as
  that of the other machines. The model does not explain either.

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
    axes.plot(ends, ends, color="0.2", lw=1, label="as published")
    for factor, label in ((1.3, "30 % off"), (1 / 1.3, None)):
        shifted = [end * factor for end in ends]
        axes.plot(ends, shifted, color="0.6", lw=0.8, ls="--", label=label)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="published (tokens/s)",
        ylabel="expected (tokens/s)",
    )
    drawing.suptitle("Speeds of bitnet.cpp and llama.cpp, expected against published")
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
