"""What published speedups hold up: ``python reports/published_speedups/study.py``.

Takes half a minute: the FP16 baseline of the PEs is synthesized and measured here.
"""

import platform
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import matplotlib
import numpy as np

from hw.accelerator import Accelerator, load_accelerator
from hw.pe_record import PeRecord, load_record
from numerics.names.catalog import FORMATS
from numerics.pe.exact_dot import integer_table
from roofline.accelerator import published_bitmod as bitmod
from roofline.accelerator import published_mixpe as mixpe
from roofline.accelerator.gemm import Gemm, Phase, gemm_cost
from roofline.accelerator.model import WeightBits, model_cost
from roofline.accelerator.same_area import with_elements
from roofline.model.model_shape import load_model
from rtl.arithmetic.products import FloatProduct
from rtl.catalog import find_pe
from rtl.cost.cost import cost
from rtl.fields import Operands
from rtl.pe.dot_product.element import DotProductPe

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
#: What a design runs at the same area: record, bits of weights, of activations, and of keys.
ELEMENTS = {
    "mixpe-w4a8": ("mixpe-w4a8", 4, 8, 8),
    "int8": ("int8-mac", 8, 8, 8),
    "mixpe-w4a16": ("mixpe-w4a16", 4, 16, 16),
    "fp16": ("fp16-dot", 16, 16, 16),
}
#: The same for BitMoD's prompts and tokens; only its lossy weights have an element.
BITMOD_ELEMENTS = {"prefill": ("bitmod-fp4", 4), "decode": ("bitmod-fp3", 3)}
TEXT = """# Published speedups, recomputed

The `published` model repeats the arithmetic of the authors' simulators, to the last cycle for BitMoD
and to both printed digits for MixPE. The `corrected` one runs the same shapes on the same arrays
with operands, memory and attention as a machine would have them (`roofline.accelerator.gemm`).
`our RTL` puts this project's own elements, synthesized and measured (`hw/pe_records`), on the area
that the baseline's elements take. None of them is a measurement of silicon.

## Elements

{elements}

MACs and energy are over those of the element named second, whose netlist has the same kind of sum.
`fp16-dot` multiplies FP16 by FP16 and is measured by this script as the records were ({fp16_bits} bits of
exact sum, {fp16_area} um2). `fp16-mac`, whose FP32 adder rounds (the published one adds in FP16), takes
{fp16_mac_area} um2 and {fp16_mac_energy} of its energy: gains in MACs over FP16 would be {fp16_mac_ratio} times those here.
Energy of netlists is without glitches.

Why they differ:

- **BitMoD.** Published, a PE takes 0.77 of the area of an FP16 one (1508 over 1969 um2) and takes four
  values in two cycles. Ours takes {bitmod_size} of it: its four lanes align terms of FP16 into an exact
  sum of {bitmod_bits} bits, where theirs adds within 17 and normalizes. A MAC still has less area than
  an FP16 one, but {bitmod_over_parallel} times that of the bit-parallel `mixpe-w4a16`, which is as exact.
- **MixPE W4A8.** The published array is four times as large as that of INT8 for the same area, and each
  PE does four MACs. Our shift-and-add element is somewhat smaller than an INT8 MAC and does one MAC.
- **MixPE W4A16.** Published, four MACs a PE and cycle on as large a PE as that of FP16; ours does one,
  on half the area, with an exact sum of {w4a16_bits} bits.
- **Energy.** MixPE's published energies a MAC are those of a PE divided by the four MACs credited to it,
  and its W4A8 and INT8 PEs are one synthesis row. In the netlists 4 bits of weight instead of 8 save a
  third, and instead of 16 a half.

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
- **Our RTL, prompt.** {bitmod_macs} times the MACs of FP16 instead of 2.67, so that the array decides again
  where memory did. Speedups stay above that ratio as the baseline waits for its wider weights.
- **Our RTL, token.** One token fills one of 16 columns, and {token_rows} rows of `bitmod-fp3` instead of 64 are
  just too few to keep up with memory.
- **Our RTL, 6 bits.** `bitmod-ll` needs three Booth digits a weight. No element of ours has them.
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
- **Our RTL.** On the area of FP16 fit {int8_ratio} times as many INT8 MACs, where the published arrays
  (32 x 32 over 32 x 28) suppose them to be about as large; so INT8 gains most. From there W4A8 gains the
  ratio of its area only, not 16 times; W4A16 gains twice over FP16, as its area says.
- Scales of weights (16 bits a group of 128) are read; the published model reads none.

## How it was made

    python reports/published_speedups/study.py

Python {python}, NumPy {numpy}, qsim {qsim}, {machine}. No random numbers are drawn. Shapes are in
`roofline/accelerator/published_*.py`; prompt and context have 256 tokens. Numbers of the machines, with
their sources, are in `hw/accelerators/`.
"""


class WideDotProduct(DotProductPe):
    """A PE whose sums are wider than 64 bits."""

    def golden(self, operands: Operands) -> np.ndarray:
        """Return the exact sums as whole numbers of any size."""
        weights, activations = (
            np.array(integer_table(fmt), object)[operands[name]]
            for name, fmt in (("weights", self.weights), ("activations", self.activations))
        )
        return (weights * activations).sum(axis=(1, 2))


def main() -> None:
    fp16 = FORMATS["fp16"]
    baseline = cost(
        WideDotProduct(
            name="fp16-dot", weights=fp16, activations=fp16, product=FloatProduct, source="baseline"
        )
    )
    rows = bitmod_rows(baseline)
    draw(rows)
    text = TEXT.format(
        elements=table(
            [
                "element",
                "over",
                "area um2",
                "MACs a PE and cycle",
                "published",
                "MACs on the same area",
                "published",
                "energy a MAC",
                "published",
            ],
            element_rows(baseline),
        ),
        bitmod=table(
            ["model", "design", "task", "published", "whole buffers", "corrected", "our RTL"],
            [[*row[:3], *("-" if x is None else f"{x:.3f}" for x in row[3:])] for row in rows],
        ),
        mixpe=table(["design", "published", "corrected", "our RTL"], mixpe_rows(baseline)),
        **facts(baseline),
        python=platform.python_version(),
        numpy=np.__version__,
        qsim=version("qsim-codesign"),
        machine=f"{platform.system()} {platform.machine()}",
    )
    (HERE / "README.md").write_text(text)
    print(HERE / "README.md")


def facts(baseline: PeRecord) -> dict[str, str]:
    """Return the numbers of the text."""
    bitmod_pe, w4a16 = load_record("bitmod-fp4"), load_record("mixpe-w4a16")
    rounding = cost(find_pe("fp16-mac"))
    assert rounding.energy_no_delay_fj_per_mac and baseline.energy_no_delay_fj_per_mac
    energy_ratio = rounding.energy_no_delay_fj_per_mac / baseline.energy_no_delay_fj_per_mac
    fp16 = load_accelerator("fp16-28nm")
    area_um2 = fp16.decode_rows * fp16.decode_columns * baseline.area_um2
    row_um2 = load_accelerator("bitmod").decode_columns * load_record("bitmod-fp3").area_um2
    return {
        "fp16_area": f"{baseline.area_um2:.0f}",
        "fp16_bits": str(baseline.accumulator_bits),
        "fp16_mac_area": f"{rounding.area_um2:.0f}",
        "fp16_mac_ratio": f"{rounding.area_um2 / baseline.area_um2:.2f}",
        "fp16_mac_energy": f"{energy_ratio:.2f}",
        "bitmod_bits": str(bitmod_pe.accumulator_bits),
        "w4a16_bits": str(w4a16.accumulator_bits),
        "bitmod_size": f"{bitmod_pe.area_um2 / baseline.area_um2:.2f}",
        "bitmod_macs": f"{baseline.area_um2_per_mac / bitmod_pe.area_um2_per_mac:.2f}",
        "token_rows": str(int(area_um2 / row_um2)),
        "int8_ratio": f"{baseline.area_um2 / load_record('int8-mac').area_um2:.1f}",
        "bitmod_over_parallel": f"{bitmod_pe.area_um2_per_mac / w4a16.area_um2_per_mac:.2f}",
    }


def element_rows(baseline: PeRecord) -> list[list[str]]:
    """Return MACs a cycle, and area and energy of a MAC over those of a baseline, both ways.

    The published ones: PEs of the array, MACs of a PE and cycle, energy of a PE and cycle.
    """
    int8 = load_record("int8-mac")
    published = {
        "bitmod-fp4": ((1024, 2, 0.56), (768, 1, 0.77), baseline),
        "mixpe-w4a8": ((4096, 4, 0.56), (1024, 1, 0.56), int8),
        "mixpe-w4a16": ((1024, 4, 1.09), (896, 1, 1.68), baseline),
    }
    rows = []
    for name, ((pes, macs, energy), (old_pes, old_macs, old_energy), base) in published.items():
        record = load_record(name)
        assert record.energy_no_delay_fj_per_mac and base.energy_no_delay_fj_per_mac
        energy_ratio = record.energy_no_delay_fj_per_mac / base.energy_no_delay_fj_per_mac
        rows.append(
            [
                name,
                base.name,
                f"{record.area_um2:.0f} over {base.area_um2:.0f}",
                f"{record.macs_per_cycle:g}",
                f"{macs}",
                f"{base.area_um2_per_mac / record.area_um2_per_mac:.2f}",
                f"{pes * macs / (old_pes * old_macs):.2f}",
                f"{energy_ratio:.2f}",
                f"{energy / macs / (old_energy / old_macs):.2f}",
            ]
        )
    return rows


BitmodRow = tuple[str, str, str, float, float, float, float | None]


def bitmod_rows(element: PeRecord) -> list[BitmodRow]:
    """Model, design, task; speedup published, with whole buffers, corrected, and by our RTL."""
    rows: list[BitmodRow] = []
    for name in bitmod.MODELS:
        for design, *bits in BITMOD_DESIGNS:
            for task, phase, code_bits in zip(
                ("prefill", "token"), ("prefill", "decode"), bits, strict=True
            ):
                fast = bitmod.published_cost(design, name, task).cycles
                published = bitmod.published_cost("fp16", name, task).cycles / fast
                ours = bitmod_speedups(name, phase, code_bits, element)
                rows.append((name, design, task, published, *ours))
    return rows


def bitmod_speedups(
    name: str, phase: Phase, code_bits: int, element: PeRecord
) -> tuple[float, float, float | None]:
    """Return the speedup with whole buffers, with halves, and of our elements on the same area."""
    shape = load_model(name)
    baseline, machine = load_accelerator("fp16-28nm"), load_accelerator("bitmod")
    wide, narrow = (
        WeightBits(code_bits=16),
        WeightBits(code_bits=code_bits, group_bits=10, group=128),
    )

    def cycles(bits: WeightBits, machine: Accelerator) -> int:
        return model_cost(shape, bits, machine, phase).cycles

    slow = cycles(wide, baseline)
    whole = cycles(wide, held(baseline, 2)) / cycles(narrow, held(machine, 2))
    corrected = slow / cycles(narrow, machine)
    record, bits = BITMOD_ELEMENTS[phase]
    if bits != code_bits:
        return whole, corrected, None
    ours = with_elements(
        machine,
        load_record(record),
        area_um2=baseline.prefill_rows * baseline.prefill_columns * element.area_um2,
        weight_bits=bits,
        activation_bits=16,
        kv_bits=8,
    )
    return whole, corrected, slow / cycles(narrow, ours)


def held(machine: Accelerator, halves: int) -> Accelerator:
    """Return a machine whose buffers are as large as if ``halves`` of them held operands."""
    return replace(
        machine,
        weight_buffer_bytes=machine.weight_buffer_bytes * halves,
        activation_buffer_bytes=machine.activation_buffer_bytes * halves,
    )


def mixpe_rows(baseline: PeRecord) -> list[list[str]]:
    """Design; run time over FP16 published, corrected, and by our RTL on the area of FP16."""
    corrected = {
        design: mixpe_cycles(bits, load_accelerator(machine))
        for design, machine, bits in MIXPE_DESIGNS
    }
    base = load_accelerator("fp16-28nm-500mhz")
    area_um2 = base.prefill_rows * base.prefill_columns * baseline.area_um2
    ours = {}
    for design, (name, weight_bits, activation_bits, kv_bits) in ELEMENTS.items():
        machine = with_elements(
            base,
            baseline if name == baseline.name else load_record(name),
            area_um2=area_um2,
            weight_bits=weight_bits,
            activation_bits=activation_bits,
            kv_bits=kv_bits,
        )
        ours[design] = mixpe_cycles(weight_bits, machine)
    return [
        [
            design,
            f"{mixpe.published_time_ratio(design, 'opt-6.7b'):.3f}",
            f"{corrected[design] / corrected['fp16']:.3f}",
            f"{ours[design] / ours['fp16']:.3f}",
        ]
        for design in corrected
    ]


def mixpe_cycles(bits: int, machine: Accelerator) -> int:
    """Return the cycles of the four linear layers of all blocks of OPT-6.7B."""
    shape = mixpe.MODELS["opt-6.7b"]
    h, group = shape.hidden, 128 if bits == 4 else None
    return sum(
        gemm_cost(
            Gemm(
                name=machine.name,
                tokens=mixpe.BATCH,
                inputs=inputs,
                outputs=outputs,
                weight_bits=bits,
                side_bits=16 / group if group else 0,
                group=group,
                count=shape.layers,
            ),
            machine,
            "prefill",
        ).cycles
        for inputs, outputs in [(h, 3 * h), (h, h), (h, 4 * h), (4 * h, h)]
    )


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def draw(rows: list[BitmodRow]) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    for axis, task in zip(axes, ("prefill", "token"), strict=True):
        for design, color in (("bitmod-ll", "tab:blue"), ("bitmod-ly", "tab:orange")):
            points = [row for row in rows if row[1:3] == (design, task)]
            y = np.arange(len(points))
            axis.plot([row[3] for row in points], y, "o", color=color, label=f"{design} published")
            axis.plot([row[5] for row in points], y, "x", color=color, label=f"{design} corrected")
            if None not in (own := [row[6] for row in points]):
                axis.plot(own, y, "+", color=color, label=f"{design} our RTL")
        axis.set_yticks(y, [row[0] for row in points])
        axis.set_xlabel("times faster than FP16")
        axis.set_title({"prefill": "Prompt of 256 tokens", "token": "One token"}[task])
        axis.set_xlim(left=1)
    axes[1].legend(fontsize=8, loc="center", bbox_to_anchor=(0.62, 0.5))
    figure.savefig(HERE / "speedups.png", dpi=120, metadata={"Software": None})


if __name__ == "__main__":
    main()
