"""The page of ``qsim codesign``: one file, figures in the order in which a chip architect looks."""

import json
from html import escape
from importlib.resources import files

from sim.codesign.columns import columns_of
from sim.codesign.command import Codesign
from sim.codesign.page_data import page_data
from sim.codesign.tables import headline, notes
from sim.provenance import command_line, created, versions
from sim.report.page_style import STYLESHEET

STYLE = """
svg { min-width: 0; touch-action: pan-y; } svg text { font: 11px system-ui, sans-serif;
  fill: var(--ink); } svg .dim { fill: var(--soft); } svg .grid { stroke: var(--line); }
svg .axis { stroke: var(--soft); } svg:focus-visible { outline: 2px solid var(--mark); }
.drawing { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; align-items: start; }
.pair > * { min-width: 0; }
.controls { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; margin: .75rem 0; }
.controls label { display: grid; font-size: .875rem; color: var(--soft); min-width: 11rem; }
.controls output { color: var(--ink); font-variant-numeric: tabular-nums; }
input[type=search] { font: inherit; padding: .2rem .4rem; color: var(--ink); width: 100%;
  max-width: 20rem; background: var(--paper); border: 1px solid var(--line); }
.tall { max-height: 28rem; overflow: auto; } tr.chosen td { background: var(--shade);
  font-weight: 600; } tbody tr { cursor: pointer; } .kind { color: var(--soft); font-size: .7rem;
  display: block; font-weight: 400; } thead th { position: sticky; top: 0; z-index: 1;
  background: var(--paper); } th:first-child { z-index: 2; }
.facts { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; margin: .5rem 0; }
.facts span { white-space: nowrap; } .facts b { font-variant-numeric: tabular-nums; }
button.plain { font: inherit; font-size: .875rem; color: var(--mark); background: none; border: 1px
  solid var(--line); border-radius: 4px; padding: .15rem .6rem; cursor: pointer; }
td:first-child { min-width: 5rem; }
@media (max-width: 44rem) { .pair { grid-template-columns: 1fr; }
  .drawing svg { min-width: 27rem; } #winmap svg, #equal svg, #time svg { min-width: 40rem; } }
@media print { .controls, button.plain { display: none; } .tall { max-height: none; } }
"""
#: Heading and caption of every figure by its element, in order.
FIGURES = {
    "scatter": (
        "Speed, energy and accuracy",
        (
            "Left: energy of a token (area on an FPGA) against tokens/s; lower right is better."
            " Right: area against divergence from float32; lower left is better. A circle is a"
            " design of the front, its size the area (left), its colour the class of accuracy;"
            " small dots are other designs. Click a circle, or use the arrow keys on a figure; drag"
            " a rectangle to keep what is in it, click an empty place to keep all."
        ),
    ),
    "winmap": (
        "Who wins with which memory in which area",
        (
            "Fastest format and PE within an area budget for each memory, of those with a"
            " divergence up to the slider. Of pairs within 2 % of the fastest the one with the"
            " least energy is shown; hatched: another format is within 2 % in speed and 5 % in"
            " energy."
        ),
    ),
    "equal": (
        "Formats in the same area",
        (
            "The fastest PE for each weight format in the area and with the memory of the answer,"
            " the most accurate format first."
        ),
    ),
    "time": (
        "Where the time goes",
        (
            "Time of each product of one token of the chosen design; the label says what it waits"
            " for and how many MACs of the array are useful."
        ),
    ),
    "parts": (
        "Where area and energy go",
        "Of the chosen design; nominal energy of one token.",
    ),
    "roofline": (
        "Roofline of the chosen machine",
        (
            "Attainable MAC/s against MACs per byte. Solid: peak; dashed: the share of the memory's"
            " bandwidth that is assumed to be reached. Dots are the products of one token."
        ),
    ),
    "floorplan": (
        "Floorplan to scale",
        "Areas of the parts as rectangles: not placed, no wires.",
    ),
    "parallel": (
        "All objectives of the front",
        (
            "Each line is a design of the front; up is better on every axis. Drag along an axis to"
            " keep a range; click an axis to keep all."
        ),
    ),
}


def page(found: Codesign) -> str:
    """Return the page."""
    name = found.space.shape.title
    # A name from a user's file must not end the script.
    data = json.dumps(page_data(found), separators=(",", ":")).replace("</", "<\\/")
    script = files("sim.codesign").joinpath("page.js").read_text("utf-8")
    first, second = headline(found)
    figures = "".join(
        f"<section><h2>{escape(title)}</h2>{CONTROLS.get(key, '')}"
        f'<div id="{key}" class="{"pair" if key in PAIRS else ""}"></div>'
        f"<p class=soft>{escape(caption)}</p></section>"
        for key, (title, caption) in FIGURES.items()
    )
    listed = "".join(f"<li>{escape(line)}</li>" for line in notes(found))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>qsim: a chip for {escape(name)}</title><style>{STYLESHEET}{STYLE}</style></head>"
        f"<body><h1>qsim codesign: formats, PEs and machines for {escape(name)}</h1>"
        f'<p class="answer">{escape(first)}</p><p class="more">{escape(second)}</p>'
        f'<div id="facts" class="facts" aria-live="polite"></div>'
        f'<div class="controls" id="limits"></div><ul class="notes">{listed}</ul>{figures}'
        '<h2>Designs of the front</h2><div class="controls"><label>filter<input type="search" '
        'id="filter" placeholder="int4 mxfp4-dot"></label><span><button class="plain" id="save">'
        "download CSV</button></span></div>"
        '<div class="wide tall"><table id="designs"></table></div>'
        f"<h2>What the numbers are</h2><dl>{_kinds(found)}</dl>"
        f"<h2>How this was made</h2><dl>{_provenance(found)}</dl>"
        f"<script>const DATA = {data};\n{script}</script></body></html>\n"
    )


#: Figures of two drawings side by side.
PAIRS = ("scatter", "parts")
CONTROLS = {
    "winmap": '<div class="controls"><label>divergence at most, nats <output id="klout"></output>'
    '<input type="range" id="kl" min="0" max="1000" value="1000"></label></div>'
}


def _kinds(found: Codesign) -> str:
    """Return every column with its kind and meaning."""
    return "".join(
        f"<dt>{escape(c.title)}{f' ({escape(c.unit)})' if c.unit else ''}</dt>"
        f"<dd><b>{c.kind}</b>: {escape(c.meaning)}</dd>"
        for c in columns_of(found.space.grid.fpga, found.space.prompts)
    )


def _provenance(found: Codesign) -> str:
    versioned = ", ".join(f"{k} {v}" for k, v in versions("qsim-codesign", "numpy").items())
    rows = {
        "command": command_line(),
        "made": created(),
        "versions": versioned,
        "area, energy of PEs": "hw/pe_records, netlists in library qsim45 (measured); toggles of"
        " Gaussian operands",
        "cycles": "roofline/accelerator/stream.py (modelled; equal to a walk over all beats)",
        "buffers": "hw/sram.py, laws fitted to published macros and energies (modelled)",
        "memory": "hw/dram.py, least, nominal and most energy of a bit (from documents)",
    }
    rows |= {f"accuracy: {key}": value for key, value in found.table.about.items()}
    return "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in rows.items())
