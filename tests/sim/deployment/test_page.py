import itertools
import json
import re
import shutil
import subprocess

import pytest

from sim.deployment.page import Cell, Choices, Operators, page
from sim.deployment.roofs import Roof, Slope

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
#: Stands before the page's own script, so that it hears its errors.
LISTEN = """<script>
const errors = [];
window.onerror = (message) => errors.push(String(message));
console.error = (...words) => errors.push(words.join(" "));
</script>"""
#: Script that picks another machine, then another format, and writes the figures it finds into
#: the document.
PICK = """<script>
const seen = [document.getElementById("summary").innerText];
for (const [id, value] of [["machine", "slow"], ["format", "<\\/script> w16"]]) {
  document.getElementById(id).value = value;
  document.getElementById(id).dispatchEvent(new Event("change"));
  seen.push(document.getElementById("summary").innerText);
}
const circles = document.querySelectorAll("#roofline circle").length;
document.body.innerHTML = "";
const out = document.createElement("pre");
out.id = "seen";
out.textContent = JSON.stringify({ seen, circles, errors });
document.body.append(out);
</script></body>"""
#: Script that writes the labels' boxes of roofline and memory figures into the document, in units
#: of the drawing, 760 by 430.
BOXES = """<script>
const words = document.querySelectorAll("#roofline text:not([transform]), #memory text");
const boxes = [...words].map((one) => {
  const { x, y, width, height } = one.getBBox();
  return { words: one.textContent, x, y, width, height };
});
const out = document.createElement("pre");
out.id = "seen";
out.textContent = JSON.stringify(boxes);
document.body.replaceChildren(out);
</script></body>"""


def cell(tpot, names=("qkv",), capacity_bytes=8e9):
    points = [
        Operators(name=name, phase=phase, ops=1e9, bytes=1e8, time_s=1e-3, bound="memory")
        for phase in ("prefill", "decode")
        for name in names
    ]
    return Cell(
        summary=[("time per output token", f"{tpot} ms")],
        notes=[],
        roofs=[Roof(name="FP16", ops_per_s=1e14)],
        slope=Slope(name="HBM", bytes_per_s=1e12),
        points=points,
        memory=[("weights", 1e9 + 1 / 3)],
        capacity_bytes=capacity_bytes,
        tpot_by_context=[(1024, 1.0), (2048, 1.5)],
        tpot_by_batch=[(1, 1.0), (2, 1.1)],
    )


@pytest.fixture(scope="module")
def text():
    choices = Choices(
        models=["m"],
        machines=["fast", "slow"],
        formats=["w4", "</script> w16"],
        start=("m", "fast", "w4"),
    )
    cells = {
        ("m", machine, fmt): cell(10 * i + j)
        for i, machine in enumerate(choices.machines)
        for j, fmt in enumerate(choices.formats)
    }
    return page(choices, cells, heading="h & h", assumptions=["a < b"], provenance={"command": "c"})


def test_the_page_needs_nothing_else(text):
    assert not re.search(r"""(src|href)=|@import|url\(""", text)
    assert "h &amp; h" in text and "a &lt; b" in text and text.count("</script>") == 1


def test_numbers_in_the_page_have_few_digits(text):
    assert "1000000000.0" in text and "333" not in text


def seen(text, folder):
    """Return what a page leaves in the document."""
    path = folder / "page.html"
    path.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--dump-dom",
            f"--user-data-dir={folder / 'profile'}",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return json.loads(re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)[1])


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_labels_of_points_at_one_place_stand_apart_in_the_drawing(tmp_path):
    names = ("gate and up", "down", "qkv", "o", "lm_head", "everything else")
    choices = Choices(models=["m"], machines=["a"], formats=["f"], start=("m", "a", "f"))
    cells = {("m", "a", "f"): cell(1, names, capacity_bytes=None)}
    text = page(choices, cells, heading="h", assumptions=[], provenance={})
    found = seen(text.replace("</body>", BOXES), tmp_path)
    # The figure has no capacity line where the memory size is unknown.
    assert [box["words"] for box in found if box["words"].startswith("weights")] == ["weights 1 GB"]
    assert not any(box["words"].startswith("capacity") for box in found)
    boxes = [box for box in found if box["words"] in names]
    assert len(boxes) == 2 * len(names)
    for box in boxes:
        # The box is inside the drawing and above the axis, which is 44 units from the lower end.
        assert box["x"] >= 0 and box["x"] + box["width"] <= 760
        assert box["y"] >= 0 and box["y"] + box["height"] <= 430 - 44
    for one, other in itertools.combinations(boxes, 2):
        is_beside = (
            max(one["x"] - other["x"] - other["width"], other["x"] - one["x"] - one["width"]) >= 0
        )
        # Ascenders and descenders of lines that stand close may touch.
        assert is_beside or abs(one["y"] - other["y"]) >= 10


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_picking_another_machine_changes_the_numbers(text, tmp_path):
    changed = text.replace("<script>const DATA", LISTEN + "<script>const DATA")
    found = seen(changed.replace("</body>", PICK), tmp_path)
    assert found["errors"] == [] and found["circles"] == 2
    assert [words.split("\t")[-1] for words in found["seen"]] == ["0 ms", "10 ms", "11 ms"]
