"""``--compat llm-viewer``: the results of that program for the same request."""

import re
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from roofline.measured.llm_viewer import HARDWARE, CompatStage, Widths, llm_viewer
from sim.deployment.model_names import find_shape
from sim.deployment.options import RooflineOptions
from sim.errors import UserError, user_errors

#: Hardware names of LLM-Viewer by machine.
NAMES = {
    "v100-sxm2": "nvidia_V100",
    "rtx-a6000": "nvidia_A6000",
    "a100-sxm-40gb": "nvidia_A100_40G",
    "a100-sxm-80gb": "nvidia_A100_80G",
    "a40": "nvidia_A40",
    "h100-sxm": "nvidia_H100_SXM",
    "h100-pcie": "nvidia_H100_PCIe",
    "l40": "nvidia_L40",
    "core-i9-13900k": "intel_13900k",
}


def compat_records(options: RooflineOptions) -> list[dict[str, Any]]:
    """Return one record for each model, machine, format and stage; lengths are ``--prompt``."""
    _check_options(options)
    found = []
    for model in options.models:
        for machine in options.machines:
            for fmt in options.formats:
                stages = _stages(options, model, machine, fmt)
                for name, stage in stages.items():
                    found.append(_record((model, machine, fmt, name), stage))
    return found


def _check_options(options: RooflineOptions) -> None:
    """Refuse options that LLM-Viewer does not have."""
    asked = {
        "--method": options.method is not None,
        "--activations": options.activations is not None,
        "--chunk": options.chunk is not None,
        "--threads": options.threads is not None,
        "--parallel": options.parallel != "tensor",
        "--draft": options.draft is not None,
        "--unfused-attention": options.unfused,
        "--utilization": options.utilization != 1.0,
    }
    for name, is_given in asked.items():
        if is_given:
            raise UserError(f"LLM-Viewer has no option like {name}; drop it or --compat")


def _stages(options: RooflineOptions, model: str, machine: str, fmt: str) -> dict[str, CompatStage]:
    hardware = machine if machine in HARDWARE else NAMES.get(machine)
    if hardware is None:
        known = ", ".join([*NAMES, *HARDWARE])
        raise UserError(f"LLM-Viewer has no machine '{machine}'; it has {known}")
    with user_errors(ValueError):
        return llm_viewer(
            find_shape(model),
            hardware,
            length=options.prompt,
            batch=options.batch,
            widths=_widths(fmt, options.kv),
        )


def _widths(fmt: str, kv: str | None) -> Widths:
    """Return the bits of ``fp16``, ``w4a16`` or ``w4a8kv4``; LLM-Viewer knows only widths."""
    text = "w16a16" if fmt in ("fp16", "bf16") else fmt
    match = re.fullmatch(r"w(\d+)a(\d+)(?:kv(\d+))?", text)
    cache = re.fullmatch(r"(?:int|fp|kv)?(\d+)", kv or "")
    if match is None or (kv is not None and cache is None):
        raise UserError(f"LLM-Viewer knows only widths such as fp16, w4a16 or w8a8kv8, not '{fmt}'")
    activations = int(match[2])
    width = match[3] or (cache[1] if cache else None)
    return Widths(
        weights=int(match[1]), activations=activations, kv=int(width) if width else activations
    )


def _record(names: Sequence[str], stage: CompatStage) -> dict[str, Any]:
    keys = ("model", "machine", "format", "stage")
    return {
        **dict(zip(keys, names, strict=True)),
        "ops": stage.ops,
        "traffic_bytes": stage.traffic_bytes,
        "time_s": stage.total_s,
        "memory_bytes": stage.memory_bytes,
        "operators": [
            {
                "name": op.name,
                "ops": op.ops,
                "traffic_bytes": op.traffic_bytes,
                "time_s": stage.time_s(op),
                "limit": stage.bound(op),
            }
            for op in (*stage.operators, stage.head)
        ],
    }


def compat_table(records: Sequence[dict[str, Any]]) -> Table:
    """Return the records as a table, with the digits of LLM-Viewer's output."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("model", "machine", "format", "stage"):
        table.add_column(heading)
    for heading in ("OPs e9", "bytes e9", "ms", "memory e9"):
        table.add_column(heading, justify="right")
    for one in records:
        table.add_row(
            *(one[key] for key in ("model", "machine", "format", "stage")),
            f"{one['ops'] / 1e9:.9g}",
            f"{one['traffic_bytes'] / 1e9:.9g}",
            f"{one['time_s'] * 1e3:.9g}",
            f"{one['memory_bytes'] / 1e9:.9g}",
        )
    return table
