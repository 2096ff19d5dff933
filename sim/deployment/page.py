"""One self-contained page: pick a model, a machine and a format, and the figures follow."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from importlib.resources import files

from sim.deployment.roofs import Roof, Slope
from sim.report.page_style import STYLESHEET

EXTRA_STYLE = """
.pick { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1rem 0; }
.pick label { display: grid; gap: .2rem; font-size: .875rem; color: var(--soft); }
select { font: inherit; padding: .25rem; max-width: 24rem; color: var(--ink);
         background: var(--paper); }
.drawing { background: #fff; border-radius: 6px; overflow-x: auto; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; }
.pair svg { min-width: 20rem; }
svg text { font: 11px system-ui, sans-serif; } svg .small { font-size: 10px; }
svg .grid { stroke: #e4e4e4; } svg .roof { stroke: #222; stroke-width: 1.6; }
svg .point { fill-opacity: .75; stroke: #fff; } svg .curve { fill: none; stroke: #0072b2;
  stroke-width: 2; }
#summary th { text-align: left; font-weight: 500; }
#summary td { white-space: normal; }
"""
#: Significant digits of numbers in the page.
DIGITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Operators:
    """One kind of operator in one phase, with its limit."""

    name: str
    phase: str
    ops: float
    bytes: float
    time_s: float
    bound: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Contents of the page for one model, machine and format."""

    #: Rows of the summary: name and value.
    summary: Sequence[tuple[str, str]]
    notes: Sequence[str]
    roofs: Sequence[Roof]
    slope: Slope
    points: Sequence[Operators]
    #: Parts of the memory use: name and bytes.
    memory: Sequence[tuple[str, float]]
    #: Size of the memory; None if unknown.
    capacity_bytes: float | None
    #: Milliseconds of an output token, by context in tokens and by batch.
    tpot_by_context: Sequence[tuple[int, float]]
    tpot_by_batch: Sequence[tuple[int, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """Names to choose from, and the first choice."""

    models: Sequence[str]
    machines: Sequence[str]
    formats: Sequence[str]
    start: tuple[str, str, str]


def page(
    choices: Choices,
    cells: Mapping[tuple[str, str, str], Cell],
    *,
    heading: str,
    assumptions: Sequence[str],
    provenance: Mapping[str, str],
) -> str:
    """Return the page; ``cells`` has every model, machine and format of ``choices``."""
    axes = {"model": choices.models, "machine": choices.machines, "format": choices.formats}
    data = {
        "axes": axes,
        "start": dict(zip(axes, choices.start, strict=True)),
        "cells": {"|".join(key): _rounded(asdict(cell)) for key, cell in cells.items()},
    }
    # A name from a user's file must not end the script.
    text = json.dumps(data, separators=(",", ":")).replace("</", "<\\/")
    script = files("sim.deployment").joinpath("page.js").read_text("utf-8")
    pick = "".join(f'<label>{name}<select id="{name}"></select></label>' for name in axes)
    listed = "".join(f"<li>{escape(line)}</li>" for line in assumptions)
    made = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in provenance.items())
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>qsim: {escape(heading)}</title><style>{STYLESHEET}{EXTRA_STYLE}</style></head>"
        f'<body><h1>{escape(heading)}</h1><div class="pick">{pick}</div>'
        '<table id="summary"></table><ul id="notes" class="notes"></ul>'
        '<h2>Roofline</h2><div class="drawing" id="roofline"></div>'
        '<h2>Where the time goes</h2><div class="drawing" id="bars"></div>'
        '<h2>Memory</h2><div class="drawing" id="memory"></div>'
        '<h2>Time per output token</h2><div class="pair">'
        '<div class="drawing" id="context"></div><div class="drawing" id="batch"></div></div>'
        f'<h2>Assumptions</h2><ul class="notes">{listed}</ul>'
        f"<h2>How this was made</h2><dl>{made}</dl>"
        f"<script>const DATA = {text};\n{script}</script></body></html>\n"
    )


def _rounded(value: object) -> object:
    """Return nested data with floats cut to a few digits, which keeps the page small."""
    match value:
        case float():
            return float(f"{value:.{DIGITS}g}")
        case dict():
            return {key: _rounded(item) for key, item in value.items()}
        case list() | tuple():
            return [_rounded(item) for item in value]
        case _:
            return value
