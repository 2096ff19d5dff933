"""Figures of GenZ and llm-analysis, explained: ``python reports/other_tools/study.py``. Takes seconds.

Each figure is computed twice with the operators of ``roofline.workload.operators``: as this project counts, and
with what the tool counts otherwise.
"""

import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from roofline.model.model_shape import load_model
from roofline.runtime.serving_format import parse_format
from roofline.workload.operator import Operator
from roofline.workload.operators import operators
from roofline.workload.step import Options, Sequences

HERE = Path(__file__).parent
SHAPE = load_model("llama-2-7b")
FP16 = parse_format("fp16")
#: A "GB/s" of GenZ is 2**30 bytes.
GIB = 2**30
PROMPT = 2048
A100_OPS, A100_BANDWIDTH, H100_OPS = 312e12, 2039e9, 989e12
EMBEDDING = SHAPE.vocabulary * SHAPE.hidden
TEXT = """# What other tools count

For the same model on the same machine, GenZ 0.0.16 and llm-analysis predict figures that differ from
qsim's by 2 to 10 %. Each figure is computed here twice with qsim's operators: as qsim counts, and under the
other tool's assumptions. The model is Llama-2-7B in 16 bits. GenZ: prompt of 2048 tokens. llm-analysis (its
example for LLaMA-7B): prompt of 512 tokens and 32 generated ones, at 0.7 of peak operations and 0.9 of peak
bandwidth.

{rows}

Assumptions of the other tool:

{reasons}

Made by `python reports/other_tools/study.py` with qsim {qsim}, Python {python} on {machine}; nothing is
random.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number of another tool, qsim's, and qsim's with that tool's assumptions."""

    tool: str
    what: str
    theirs: float
    ours: float
    explained: float
    reason: str


def total(found: list[Operator], name: str) -> float:
    """Return the sum of one field (name) over operators."""
    return float(sum(getattr(operator, name) for operator in found))


def step(new: int, context: int = 0, *, theirs: bool = False) -> list[Operator]:
    """Return the operators of one sequence, with all pairs and all logits if ``theirs``."""
    sequences = [Sequences(batch=1, new=new, context=context)]
    options = Options(causal=not theirs, all_logits=theirs)
    return operators(SHAPE, FP16, sequences, options=options)


def genz() -> list[Figure]:
    """Return GenZ's figures."""
    ours, theirs = total(step(PROMPT), "ops"), total(step(PROMPT, theirs=True), "ops")
    theirs += 2 * PROMPT * EMBEDDING
    token = step(1, PROMPT - 1)
    ops, read = total(token, "ops"), total(token, "essential_bytes")
    prompt_reason = "attention without the causal mask, logits of all positions, and the embedding as a matrix product"
    token_reason = (
        "bandwidth in 2^30 bytes/s; the remaining 0.01 % are activations in off-chip memory"
    )

    def row(what: str, figures: tuple[float, float, float], reason: str) -> Figure:
        published, own, explained = figures
        return Figure(
            tool="GenZ", what=what, theirs=published, ours=own, explained=explained, reason=reason
        )

    return [
        row("prompt, 1e12 operations", (29.798, ours / 1e12, theirs / 1e12), prompt_reason),
        row(
            "prompt, A100 80 GB, ms",
            (95.508, ours / A100_OPS * 1e3, theirs / A100_OPS * 1e3),
            "operations as above over the peak rate; norms, softmax and activations take no time",
        ),
        row(
            "prompt, H100, ms",
            (30.1299, ours / H100_OPS * 1e3, theirs / H100_OPS * 1e3),
            "as above, with a peak of 989e12 operations per second",
        ),
        row("token, 1e9 operations", (14.2879, ops / 1e9, ops / 1e9), "no difference"),
        row(
            "token, weights, MiB",
            (12602, total(token, "weight_bytes") / 2**20, total(token, "weight_bytes") / 2**20),
            "no difference",
        ),
        row(
            "token, A100 80 GB, ms",
            (6.52677, read / A100_BANDWIDTH * 1e3, read / (2039 * GIB) * 1e3),
            token_reason,
        ),
        row(
            "token, A100 40 GB, ms",
            (8.31737, read / 1555e9 * 1e3, read / (1600 * GIB) * 1e3),
            "1600 x 2^30 B/s instead of 1555e9",
        ),
        row(
            "token, H100, ms",
            (3.91442, read / 3350e9 * 1e3, read / (3400 * GIB) * 1e3),
            "3400 x 2^30 B/s instead of 3350e9",
        ),
    ]


def llm_analysis() -> list[Figure]:
    """Return llm-analysis' figures."""
    prompt, new, h, layers = 512, 32, SHAPE.hidden, SHAPE.layers
    rate, bandwidth = 0.7 * A100_OPS, 0.9 * A100_BANDWIDTH
    own, token = step(prompt), step(1, prompt + new - 1)
    # Four matrix products of attention, and two of an MLP that is four hidden sizes wide.
    stack = layers * 12 * h**2
    ops = 2 * prompt * (stack + EMBEDDING) + 4 * h * prompt**2 * layers
    norms_bytes = 2 * layers * 2 * prompt * h * 2
    prompt_s = ops / rate + (norms_bytes + 2 * EMBEDDING) / bandwidth
    cache = (prompt + new) * FP16.kv_bytes(SHAPE) * layers
    token_s = (2 * stack + 2 * cache + 2 * EMBEDDING) / bandwidth + 2 * EMBEDDING / rate
    weights, activations = 2 * (stack + EMBEDDING), 24 * 2 * prompt * h * layers
    own_weights = 2 * (SHAPE.linear_params + SHAPE.head_params + EMBEDDING)
    largest = max(op.activation_bytes for op in own if op.kind == "linear") / layers

    def row(what: str, figures: tuple[float, float, float], reason: str) -> Figure:
        published, ours, explained = figures
        return Figure(
            tool="llm-analysis",
            what=what,
            theirs=published,
            ours=ours,
            explained=explained,
            reason=reason,
        )

    return [
        row(
            "weights, GB",
            (13.147045888, own_weights / 1e9, weights / 1e9),
            "an MLP of two matrices of width 4 h instead of three of width 11008, and a single embedding",
        ),
        row(
            "prompt, 1e12 operations",
            (6.868726448128, total(own, "ops") / 1e12, ops / 1e12),
            "the same MLP, attention without the causal mask, logits of all positions",
        ),
        row(
            "prompt, ms",
            (31.88561941644569, total(own, "ops") / rate * 1e3, prompt_s * 1e3),
            "in addition, traffic of the norms and of the whole embedding, not overlapped with compute",
        ),
        row(
            "cache, MB",
            (285.212672, cache / 1e6, cache / 1e6),
            "no difference",
        ),
        row(
            "token, ms",
            (7.4788276, total(token, "essential_bytes") / bandwidth * 1e3, token_s * 1e3),
            "the full cache read and written, the whole embedding read, the head's weights not read;"
            " the remaining 0.03 % are activations",
        ),
        row(
            "prompts that fit",
            (20, (80e9 - own_weights) // (largest + cache), (80e9 - weights) // activations),
            "24 vectors per token and layer, kept for all layers at once as in training, and no cache",
        ),
        row(
            "sequences that fit",
            (230, (80e9 - own_weights) // cache, (80e9 - weights) // (cache + 4198400)),
            "its own weight bytes; 4.2 MB of activations per sequence",
        ),
    ]


def table(headings: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Write README.md."""
    figures = [*genz(), *llm_analysis()]
    rows = [
        [
            f.tool,
            f.what,
            f"{f.theirs:.6g}",
            f"{f.ours:.6g}",
            f"{f.explained:.6g}",
            f"{f.explained / f.theirs - 1:+.3%}",
        ]
        for f in figures
    ]
    text = TEXT.format(
        rows=table(
            ["tool", "figure", "theirs", "ours", "ours, their assumptions", "difference"], rows
        ),
        reasons="\n".join(f"- **{f.tool}, {f.what}**: {f.reason}." for f in figures),
        qsim=version("qsim-codesign"),
        python=platform.python_version(),
        machine=f"{platform.system()} {platform.machine()}",
    )
    (HERE / "README.md").write_text(text)
    print(HERE / "README.md")


if __name__ == "__main__":
    main()
