"""What published speedups hold up: ``python reports/published_speedups/study.py``. Takes seconds."""

import platform
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import matplotlib
import numpy as np

from hw.accelerator import Accelerator, load_accelerator
from roofline.accelerator import published_bitmod as bitmod
from roofline.accelerator import published_mixpe as mixpe
from roofline.accelerator.gemm import Gemm, gemm_cost
from roofline.accelerator.model import WeightBits, model_cost
from roofline.model_shape import load_model

matplotlib.use("agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
#: Published design, machine, and bits of weights in a prompt and in a token.
BITMOD_DESIGNS = [("bitmod-ll", 6, 6), ("bitmod-ly", 4, 3)]
#: Published design, machine, bits of weights.
MIXPE_DESIGNS = [
    ("mixpe-w4a8", "mixpe-w4a8", 4),
    ("int8", "int8-28nm", 8),
    ("mixpe-w4a16", "mixpe-w4a16", 4),
    ("fp16", "fp16-28nm-500mhz", 16),
]
TEXT = """# Published speedups, recomputed

The `published` model repeats the arithmetic of the authors' simulators, to the last cycle for BitMoD
and to both printed digits for MixPE. The `corrected` one runs the same shapes on the same arrays
with operands, memory and attention as a machine would have them (`roofline.accelerator.gemm`).
Neither is a measurement of silicon.

## BitMoD over its FP16 baseline

{bitmod}

Why they differ:

- **Prompt, attention.** `whole buffers` differs from `published` by attention: published, it multiplies
  whole hidden vectors for every head, which costs both designs nearly alike; head by head it is
  almost free at 256 tokens, and the speedup is that of the linear layers.
- **Prompt, buffers.** The published model fills a buffer of 512 KiB with what it also works from. If
  half of it is being filled (`corrected`), large products read an operand twice as often, memory
  decides in the larger models, and the speedup nears the ratio of the weights' bits.
- **Token.** Published attention moves a tenth of the keys and values of 256 tokens. All of them, 16
  bits in the baseline and 8 in BitMoD, and fill, drain and 10 instead of 8 bits of side data a
  group take up to 3 % of the speedup.
- The published "geometric mean" is an arithmetic one, and "generative" is one prompt of 256 tokens
  and 20 more at a context that stays 256.

![Speedup over FP16](speedups.png)

## MixPE: run time over FP16, OPT-6.7B, batch 64

{mixpe}

Why they differ:

- **W4A8.** Published PEs run both operands at 4 bits, four MACs a cycle, on an array of 64 x 64. With
  one INT4 x INT8 product a PE and cycle the gain is that of the larger array over 32 x 28.
- **W4A16.** The published PE likewise does four products of 8 x 8 bits where it has one of 4 x 16.
- **INT8, FP16.** Published dequantization before the product costs an eighth of it, as it was sized
  for a batch of 8 and runs at 64. It is left out of the corrected times, in which it would cost at
  most 1/64.
- Scales of weights (16 bits a group of 128) are read; the published model reads none.

## How it was made

    python reports/published_speedups/study.py

Python {python}, NumPy {numpy}, qsim {qsim}, {machine}. No random numbers are drawn. Shapes are in
`roofline/accelerator/published_*.py`; prompt and context have 256 tokens. Numbers of the machines, with
their sources, are in `hw/accelerators/`.
"""


def main() -> None:
    rows = bitmod_rows()
    draw(rows)
    text = TEXT.format(
        bitmod=table(
            ["model", "design", "task", "published", "whole buffers", "corrected"],
            [[*row[:3], *(f"{x:.3f}" for x in row[3:])] for row in rows],
        ),
        mixpe=table(["design", "published", "corrected"], mixpe_rows()),
        python=platform.python_version(),
        numpy=np.__version__,
        qsim=version("qsim-codesign"),
        machine=f"{platform.system()} {platform.machine()}",
    )
    (HERE / "README.md").write_text(text)
    print(HERE / "README.md")


def bitmod_rows() -> list[tuple[str, str, str, float, float, float]]:
    """Model, design, task; speedup published, corrected with whole buffers, and corrected."""
    rows = []
    baseline, machine = load_accelerator("fp16-28nm"), load_accelerator("bitmod")
    for name in bitmod.MODELS:
        shape = load_model(name)
        for design, *bits in BITMOD_DESIGNS:
            for task, phase, code_bits in zip(
                ("prefill", "token"), ("prefill", "decode"), bits, strict=True
            ):
                ours = WeightBits(code_bits=code_bits, group_bits=10, group=128)
                corrected = []
                for halves in (2, 1):
                    slow = model_cost(
                        shape, WeightBits(code_bits=16), held(baseline, halves), phase
                    )
                    quick = model_cost(shape, ours, held(machine, halves), phase)
                    corrected.append(slow.cycles / quick.cycles)
                fast = bitmod.published_cost(design, name, task).cycles
                published = bitmod.published_cost("fp16", name, task).cycles / fast
                rows.append((name, design, task, published, *corrected))
    return rows


def held(machine: Accelerator, halves: int) -> Accelerator:
    """Return a machine whose buffers are as large as if ``halves`` of them held operands."""
    return replace(
        machine,
        weight_buffer_bytes=machine.weight_buffer_bytes * halves,
        activation_buffer_bytes=machine.activation_buffer_bytes * halves,
    )


def mixpe_rows() -> list[list[str]]:
    """Design, published and corrected run time over FP16."""
    shape = mixpe.MODELS["opt-6.7b"]
    cycles = {}
    for design, machine, bits in MIXPE_DESIGNS:
        h, group = shape.hidden, 128 if bits == 4 else None
        sizes = [(h, 3 * h), (h, h), (h, 4 * h), (4 * h, h)]
        gemms = [
            Gemm(
                name=design,
                tokens=mixpe.BATCH,
                inputs=k,
                outputs=n,
                weight_bits=bits,
                side_bits=16 / group if group else 0,
                group=group,
                count=shape.layers,
            )
            for k, n in sizes
        ]
        cycles[design] = sum(
            gemm_cost(g, load_accelerator(machine), "prefill").cycles for g in gemms
        )
    return [
        [
            design,
            f"{mixpe.published_time_ratio(design, 'opt-6.7b'):.3f}",
            f"{cycles[design] / cycles['fp16']:.3f}",
        ]
        for design in cycles
    ]


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def draw(rows: list[tuple[str, str, str, float, float, float]]) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    for axis, task in zip(axes, ("prefill", "token"), strict=True):
        for design, color in (("bitmod-ll", "tab:blue"), ("bitmod-ly", "tab:orange")):
            points = [row for row in rows if row[1:3] == (design, task)]
            y = np.arange(len(points))
            axis.plot([row[3] for row in points], y, "o", color=color, label=f"{design} published")
            axis.plot([row[5] for row in points], y, "x", color=color, label=f"{design} corrected")
        axis.set_yticks(y, [row[0] for row in points])
        axis.set_xlabel("times faster than FP16")
        axis.set_title({"prefill": "Prompt of 256 tokens", "token": "One token"}[task])
        axis.set_xlim(left=1)
    axes[1].legend(fontsize=8, loc="center")
    figure.savefig(HERE / "speedups.png", dpi=120, metadata={"Software": None})


if __name__ == "__main__":
    main()
