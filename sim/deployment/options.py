"""The options of ``qsim roofline``, written once: for the command line, its help and tests."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from sim.options import Count, Flag, Name, Names


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class RooflineOptions:
    """Models, machines and formats to combine, and the requests to predict."""

    models: Annotated[Names, Parameter(name="--model")] = ()
    """Models of 'qsim models', such as llama-3.1-8b, or .toml files of their sizes."""
    machines: Annotated[Names, Parameter(name="--hw")] = ()
    """Machines or accelerators of 'qsim hw', such as a100-sxm-80gb '2x rtx-4090' bitmod, or their
    .toml files."""
    formats: Annotated[Names, Parameter(name="--format")] = ("fp16",)
    """Formats of 'qsim formats', such as w4a16 fp8 nvfp4 q4_k_m i2_s; fp16 if not given."""
    activations: Name | None = None
    """Operand type of activations: fp16, fp8, int8, fp4, int4 or fp32."""
    kv: Name | None = None
    """Format of the KV cache, such as int8."""
    method: Name | None = None
    """Method of 'qsim methods' that chooses the codes, such as lorc or rotate(r4=true)+gptq: its
    work at run time and the bits that it stores are counted."""
    batch: Count = 1
    """Sequences at once."""
    prompt: Count = 512
    """Tokens of each prompt."""
    output: Count = 128
    """Tokens of each answer."""
    chunk: Count | None = None
    """Tokens of a prompt in one step; all of them if not given."""
    threads: Count | None = None
    """Threads of a processor; one for each core if not given."""
    parallel: Literal["tensor", "pipeline", "expert"] = "tensor"
    """How several machines share a model: each has a part of every layer, some of the layers, or
    some of the experts."""
    draft: str | None = None
    """Model that proposes tokens, which the models check: speculative decoding."""
    proposals: Count = 4
    """Tokens that the draft proposes at a time."""
    acceptance: Annotated[float, Parameter(validator=Number(gte=0, lte=1))] = 0.8
    """Probability that a proposed token is accepted."""
    unfused: Annotated[Flag, Parameter(name="--unfused-attention")] = False
    """Write scores to memory between the matrix products of attention."""
    utilization: Annotated[float, Parameter(validator=Number(gt=0, lte=1))] = 1.0
    """Fraction of the time in which the machine is busy, for the cost of a token."""
    compat: Literal["llm-viewer"] | None = None
    """llm-viewer computes as that program does, with its defects, for comparison."""
    out: Path | None = None
    """Directory for the figures and report.html."""
    json: Flag = False
    """Print one JSON object a combination on standard output instead of the table."""
