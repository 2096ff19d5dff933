"""Catalog entries of the libraries' schemes: name, scheme, source."""

import dataclasses

from numerics.conventions.bnb4 import Bnb4
from numerics.conventions.dint import Dint, Kind
from numerics.conventions.double_nf4 import DoubleNf4
from numerics.conventions.integers import GROUPS, Convention, IntegerScheme
from numerics.conventions.lq_double import LqDouble
from numerics.conventions.nvfp4 import Library, Nvfp4
from numerics.conventions.signs import Signs
from numerics.conventions.vs_quant import VsQuant
from numerics.conventions.zeroquant import DEFAULT_GROUP, Rounding, ZeroQuantM2
from numerics.formats import E2M1, E8M0, FP4_BNB, FP16, NF4
from numerics.schemes.element import ElementScheme, ScaleRule
from numerics.schemes.granularity import PerGroup
from numerics.schemes.scheme import Scheme

SOURCES = {
    Convention.SMOOTHQUANT: "SmoothQuant, arXiv:2211.10438, its code's per-row max",
    Convention.AWQ: "AWQ, arXiv:2306.00978, as llm-awq computes it",
    Convention.GPTQ: "GPTQ, arXiv:2210.17323, quant.py of its code",
    Convention.GPTQ_SYM: "GPTQ, arXiv:2210.17323, quant.py of its code with --sym",
    Convention.QUAROT: "QuaRot, arXiv:2404.00456, symmetric weights of its code",
    Convention.QUAROT_ACT: "QuaRot, arXiv:2404.00456, activations, clip ratio 0.9",
    Convention.QUAROT_KV: "QuaRot, arXiv:2404.00456, cache, clip ratio 0.95",
    Convention.COMPRESSED: "compressed-tensors 0.20, symmetric",
    Convention.COMPRESSED_ASYM: "compressed-tensors 0.20, asymmetric",
    Convention.SIGNED_MAX: "grid of GGUF Q4_0, codes by division by the stored scale, ties to even",
}

INTEGERS: dict[str, tuple[Scheme, str]] = {
    scheme.name: (scheme, source)
    for convention, source in SOURCES.items()
    for bits in (4, 8)
    for scheme in (IntegerScheme(bits=bits, convention=convention, size=GROUPS.get(convention)),)
}

M1 = ElementScheme(
    element=E2M1, granularity=PerGroup(DEFAULT_GROUP), scale_format=E8M0, rule=ScaleRule.RCEIL
)

ENTRIES: dict[str, tuple[Scheme, str]] = {
    "int1": (Signs(), "XNOR-Net, arXiv:1603.05279, section 3.1, a scale per group"),
    **INTEGERS,
    "nvfp4-modelopt": (
        Nvfp4(library=Library.MODELOPT),
        "NVIDIA NVFP4 as modelopt 0.47 computes it, -0 as +0",
    ),
    "nvfp4-torchao": (
        Nvfp4(library=Library.TORCHAO),
        "NVIDIA NVFP4 as torchao 0.18 computes it, reciprocals, scales from 2^-6",
    ),
    "nvfp4-ct": (
        Nvfp4(library=Library.COMPRESSED),
        "NVIDIA NVFP4 as compressed-tensors 0.20 computes it, reciprocal global scale",
    ),
    **{
        scheme.name: (scheme, "bitsandbytes 0.50, quantize_4bit, by the reciprocal of amax")
        for scheme in (Bnb4(element=NF4), Bnb4(element=FP4_BNB))
    },
    "nf4-dq": (
        DoubleNf4(),
        "QLoRA, arXiv:2305.14314, by the dynamic map of bitsandbytes, scales to the nearest",
    ),
    **{
        scheme.name: (scheme, "LQ-LoRA, arXiv:2311.12023, scales above the least of the tensor")
        for scheme in (LqDouble(bits=4), LqDouble(bits=3), LqDouble(bits=2, second=FP16))
    },
    "int4-vs": (VsQuant(bits=4), "VS-Quant, arXiv:2102.04503, section 4, 8-bit scales"),
    "int8-vs": (VsQuant(bits=8), "VS-Quant, arXiv:2102.04503, section 4, 8-bit scales"),
    "zqfp4-m1": (M1, "ZeroQuant-FP, arXiv:2307.09782, section 3, power-of-two scales"),
    **{
        f"zqfp4-m1-{rule.removeprefix('r')}": (
            dataclasses.replace(M1, rule=rule),
            f"ZeroQuant-FP, arXiv:2307.09782, section 3, power-of-two scales, {rule}",
        )
        for rule in (ScaleRule.RFLOOR, ScaleRule.RNEAREST)
    },
    **{
        scheme.name: (
            scheme,
            f"ZeroQuant-FP, arXiv:2307.09782, section 3, shifts by {scheme.rounding}",
        )
        for scheme in (ZeroQuantM2(rounding=rounding) for rounding in Rounding)
    },
    **{
        f"dint{bits}-{kind}": (
            Dint(bits=bits, kind=kind),
            "dINT, Lee et al., EMNLP 2023, section 4.2, " + what,
        )
        for bits in (3, 4, 8)
        for kind, what in ((Kind.FULL, "the full range"), (Kind.ASYMMETRIC, "with a zero point"))
    },
}
