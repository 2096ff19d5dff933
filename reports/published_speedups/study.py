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
from numerics.formats import FORMATS
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
#: Record and weight bits of BitMoD's prefill and decode; only the lossy design has a PE here.
BITMOD_ELEMENTS = {"prefill": ("bitmod-fp4", 4), "decode": ("bitmod-fp3", 3)}
TEXT = """# Published speedups, recomputed

`published` repeats the arithmetic of the authors' simulators: every cycle of BitMoD's, both printed digits
of MixPE's. `corrected` runs the same shapes on the same arrays with double-buffered operands, all memory
traffic and head-by-head attention (`roofline.accelerator.gemm`). `our RTL` fills the area of the baseline's
PEs with qsim's own PEs, synthesized and measured (`hw/pe_records`). None of them is measured on silicon.

## PEs

{elements}

MACs and energy are relative to the baseline PE, whose accumulator is of the same kind. `fp16-dot` multiplies
FP16 by FP16; this script synthesizes and measures it in the same way ({fp16_bits} bits of exact sum,
{fp16_area} um2). `fp16-mac` rounds in an FP32 adder (the published one adds in FP16); it takes
{fp16_mac_area} um2 and {fp16_mac_energy} of the energy of `fp16-dot`, so gains in MACs over it would be
{fp16_mac_ratio} times those shown. Energies of netlists have the glitches of the cells' delays.

Why they differ:

- **BitMoD.** The published PE takes 0.77 of the area of the FP16 PE (1508 over 1969 um2) and processes four
  values in two cycles. Ours takes {bitmod_size} of the FP16 area: its four lanes align FP16 terms into an
  exact sum of {bitmod_bits} bits, while the published PE adds 17 bits and normalizes. Its area per MAC is
  below that of FP16, but {bitmod_over_parallel} times that of the bit-parallel `mixpe-w4a16`, which is exact
  too.
- **MixPE W4A8.** The published array has four times as many PEs as the INT8 array on the same area, and each
  PE does four MACs per cycle. Our shift-and-add PE is slightly smaller than an INT8 MAC and does one MAC.
- **MixPE W4A16.** The published PE does four MACs per cycle on the area of the FP16 PE; ours does one on half
  the area, with an exact sum of {w4a16_bits} bits.
- **Energy.** MixPE's published energies per MAC are those of a PE divided by the four MACs credited to it,
  and its W4A8 and INT8 PEs share one synthesis result. In our netlists, weights of 4 bits save almost half of the
  energy against 8 bits, and more than half against 16 bits.

## BitMoD over its FP16 baseline

{bitmod}

Why they differ:

- **Prefill, attention.** `whole buffers` differs from `published` in attention only. The published model
  multiplies whole hidden vectors for every head, which costs both designs nearly the same time. Head by head,
  attention takes almost no time at 256 tokens, and the speedup is that of the linear layers.
- **Prefill, buffers.** The published model uses the whole buffer of 512 KiB for the operands in use. With
  double buffering (`corrected`), half of it is being filled; large GEMMs read an operand twice as often, the
  larger models become memory-bound, and the speedup approaches the ratio of the weight bits.
- **Token.** Published attention moves a tenth of the keys and values of 256 tokens. Moving all of them (16
  bits in the baseline, 8 in BitMoD), pipeline fill and drain, and 10 instead of 8 bits of side data per group
  reduce the speedup by up to 3 %.
- **Our RTL, prefill.** The array has {bitmod_macs} times the MACs of FP16 instead of 2.67, so it is
  compute-bound again. Speedups exceed that ratio because the baseline stalls on its wider weights.
- **Our RTL, token.** One token fills one of 16 columns, and {token_rows} rows of `bitmod-fp3` instead of 64 are
  slightly too few to consume the memory bandwidth.
- **Our RTL, 6 bits.** `bitmod-ll` needs three Booth digits per weight; qsim has no such PE.
- The published "geometric mean" is an arithmetic mean, and "generative" is a prompt of 256 tokens followed
  by 20 tokens whose context stays at 256.

![Speedup over FP16](speedups.png)

## MixPE: run time over FP16, OPT-6.7B, batch 64

{mixpe}

Why they differ:

- **W4A8.** The published PEs treat both operands as 4 bits wide: four MACs per cycle on an array of 64 x 64.
  With one INT4 x INT8 MAC per PE and cycle, the gain is that of the larger array over 32 x 28.
- **W4A16.** The published PE likewise does four 8 x 8-bit products in place of one 4 x 16-bit product.
- **INT8, FP16.** The published model charges dequantization an eighth of the GEMM's time, because it was
  sized for a batch of 8 and runs at 64. The corrected times leave it out; it would add at most 1/64.
- **Our RTL.** {int8_ratio} times as many INT8 MACs as FP16 MACs fit on the same area, while the published
  arrays (32 x 32 over 32 x 28) assume nearly equal sizes; so INT8 gains most. W4A8 gains only its area ratio
  over INT8, not 16 times; W4A16 gains a factor of two over FP16, its area ratio.
- The scales of the weights (16 bits per group of 128) are read; the published model reads none.

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
                "PE",
                "baseline",
                "area um2",
                "MACs per PE and cycle",
                "published",
                "MACs on the same area",
                "published",
                "energy per MAC",
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
    """Return the numbers to fill into the text of README.md."""
    bitmod_pe, w4a16 = load_record("bitmod-fp4"), load_record("mixpe-w4a16")
    rounding = cost(find_pe("fp16-mac"))
    assert rounding.energy_gate_delay_fj_per_mac and baseline.energy_gate_delay_fj_per_mac
    energy_ratio = rounding.energy_gate_delay_fj_per_mac / baseline.energy_gate_delay_fj_per_mac
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
    """Return rows: MACs a cycle, area and energy per MAC over a baseline, published and by RTL.

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
        assert record.energy_gate_delay_fj_per_mac and base.energy_gate_delay_fj_per_mac
        energy_ratio = record.energy_gate_delay_fj_per_mac / base.energy_gate_delay_fj_per_mac
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
    """Return rows: model, design, task; speedup published, with whole buffers, corrected, by RTL."""
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
    """Return the speedup with whole buffers, with double buffers, and of our PEs on the same area."""
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


def held(machine: Accelerator, factor: int) -> Accelerator:
    """Return a machine whose buffers are ``factor`` times as large."""
    return replace(
        machine,
        weight_buffer_bytes=machine.weight_buffer_bytes * factor,
        activation_buffer_bytes=machine.activation_buffer_bytes * factor,
    )


def mixpe_rows(baseline: PeRecord) -> list[list[str]]:
    """Return rows: design; run time over FP16 published, corrected, and by RTL at equal area."""
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


#: Marker and offset of each kind of speedup, by its place in a row.
MARKS = {3: ("published", "o", -0.12), 5: ("corrected", "X", 0.0), 6: ("our RTL", "D", 0.12)}


def draw(rows: list[BitmodRow]) -> None:
    """Draw the speedups of each model: colour for the design, marker for the kind."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), sharey=True, layout="constrained")
    colors = {"bitmod-ll": "#0072B2", "bitmod-ly": "#D55E00"}
    for axis, task in zip(axes, ("prefill", "token"), strict=True):
        for design, color in colors.items():
            points = [row for row in rows if row[1:3] == (design, task)]
            y = np.arange(len(points))
            for column, (kind, marker, offset) in MARKS.items():
                values = [row[column] for row in points]
                if None not in values:
                    label = f"{design}, {kind}"
                    axis.plot(values, y + offset, marker, color=color, label=label, alpha=0.85)
        axis.set_yticks(y, [row[0] for row in points])
        axis.set_xlabel("times as fast as FP16")
        axis.set_title({"prefill": "Prompt of 256 tokens", "token": "One token"}[task], fontsize=10)
        axis.set_xlim(left=1)
        axis.grid(axis="x", color="0.92")
    figure.suptitle("Speedup of BitMoD over its FP16 baseline: published and recomputed")
    handles = axes[1].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    figure.savefig(HERE / "speedups.png", dpi=120, metadata={"Software": None})


if __name__ == "__main__":
    main()
