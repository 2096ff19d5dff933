"""The page of ``qsim codesign`` in headless Chromium: click, brush, drag, limits, links, no error.

A script appended to the page acts on it and writes what it sees into an element, which the browser
prints with the page. Skipped where no Chromium is installed.
"""

import json
import re
import shutil
import subprocess

import pytest

from sim.codesign.command import run_codesign
from sim.codesign.options import CodesignOptions
from sim.codesign.page import page

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium")
OPTIONS = CodesignOptions(
    rows=(4, 8, 16), bandwidth=(3.2, 6.4), clock=(100.0, 200.0), formats=("int8", "mxfp4", "fp16")
)
#: Collects errors before the page's script runs.
WATCH = """<script>window.seen = [];
window.addEventListener("error", (event) => seen.push(event.message));
console.error = (words) => seen.push(String(words));</script>"""
ACT = """<script>
const out = {}, rows = () => document.querySelectorAll("#designs tbody tr").length;
const at = (svg, x, y) => { const r = svg.getBoundingClientRect();
  return { clientX: r.left + x * r.width, clientY: r.top + y * r.height, bubbles: true }; };
const drag = (svg, from, to, target) => {
  (target || svg).dispatchEvent(new PointerEvent("pointerdown", at(svg, ...from)));
  (target || svg).dispatchEvent(new PointerEvent("pointerup", at(svg, ...to))); };
const scatterSvg = () => document.querySelector("#scatter svg");
const chosen = () => Number(document.querySelector("#facts b").textContent);
out.all = rows(); out.first = chosen();
const other = [...document.querySelectorAll("#scatter circle.point")]
  .find((point) => Number(point.dataset.design) !== out.first);
out.clicked = Number(other.dataset.design);
drag(scatterSvg(), [0.5, 0.5], [0.5, 0.5], other);
out.chosen = chosen(); out.link = location.hash;
drag(scatterSvg(), [0.6, 0.05], [0.99, 0.9]);
out.brushed = rows(); out.brushLink = location.hash;
document.getElementById("clear").click(); out.cleared = rows();
const limit = document.getElementById("limit-kl_nats");
limit.value = 300; limit.dispatchEvent(new Event("input")); out.limited = rows();
document.getElementById("clear").click();
const axis = document.querySelector("#parallel rect[data-axis='0']");
drag(document.querySelector("#parallel svg"), [0.1, 0.15], [0.1, 0.4], axis);
out.ranged = rows();
document.getElementById("clear").click();
document.querySelector("#designs button[data-column=tokens_per_s]").click();
const speeds = [...document.querySelectorAll("#designs tbody tr")].map((row) =>
  by[row.dataset.design].values.tokens_per_s);
out.sorted = speeds.every((v, i) => !i || v >= speeds[i - 1]);
scatterSvg().dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
out.arrow = chosen();
const words = document.getElementById("filter");
words.value = "mxfp4"; words.dispatchEvent(new Event("input")); out.filtered = rows();
out.overflow = document.documentElement.scrollWidth - innerWidth;
out.errors = window.seen;
const result = document.createElement("pre"); result.id = "result";
result.textContent = JSON.stringify(out); document.body.append(result);
</script>"""


def shown(path, *, width, fragment=""):
    """Return what the appended script saw in a window of a width."""
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900",
         "--virtual-time-budget=5000", "--dump-dom", f"{path.as_uri()}{fragment}"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stdout[-500:] + done.stderr[-500:]
    return json.loads(found[1].replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&"))


@pytest.mark.slow
def test_the_page_in_a_browser(tmp_path):
    found = run_codesign("smollm2-135m", OPTIONS)
    text = page(found)
    path = tmp_path / "codesign.html"
    path.write_text(text.replace("<body>", f"<body>{WATCH}").replace("</body>", f"{ACT}</body>"))
    for width in (1200, 500):
        seen = shown(path, width=width)
        assert seen["errors"] == []
        assert seen["overflow"] <= 0
        assert seen["all"] == seen["cleared"] == len(found.designs)
        assert seen["first"] == found.chosen.number
        assert seen["chosen"] == seen["clicked"]
        assert seen["link"] == f"#design={seen['clicked']}"
        assert 0 < seen["brushed"] < seen["all"] and "tokens_per_s=" in seen["brushLink"]
        assert 0 < seen["limited"] < seen["all"] and 0 < seen["ranged"] < seen["all"]
        assert seen["sorted"] and 0 < seen["filtered"] < seen["all"]
    # A link selects its design and its range.
    other = next(d.number for d in found.designs if d.number != found.chosen.number)
    linked = shown(path, width=1200, fragment=f"#design={other}&kl_nats=0~0.05")
    assert linked["first"] == other and 0 < linked["all"] < len(found.designs)
