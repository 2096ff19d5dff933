import dataclasses
import math
import re
from html.parser import HTMLParser

import pytest

from sim.report import ReportProvenance, write_report
from sim.report.html import TABLE

from .conftest import make_point

PROVENANCE = ReportProvenance(
    command="qsim sweep --text '<a&b>.txt'",
    versions={"python": "3.11", "jax": "0.10"},
    hashes={"model": "ab12", "text": "cd34"},
    seed=None,
    machine="a machine",
    created="2026-01-01 00:00 UTC",
)


class Page(HTMLParser):
    """Collects tags, what they fetch, and text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.fetched, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        names = ("src", "href", "xlink:href", "data", "action")
        self.fetched += [v for k, v in attributes if k in names and v]

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def page(results, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    named = [dataclasses.replace(p, model="<script>alert(1)</script>") for p in results]
    return write_report(named, out, provenance=PROVENANCE)[-1].read_text(encoding="utf-8")


def test_the_page_fetches_nothing(page):
    links = {url.split(",")[0] for url in Page(page).fetched if url[0] != "#"}
    assert links == {"data:image/png;base64", "results.csv", "sqnr.csv"}
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)|fetch\(|<(link|iframe|img)", page)


def test_a_narrow_screen_gets_figures_of_its_own(page):
    large, small = (re.findall(f'<div class="picture {k}"><svg', page) for k in ("large", "small"))
    assert len(large) == len(small) == 2
    widths = [float(w) for w in re.findall(r'<svg role="img"[^>]*width="([\d.]+)pt"', page)]
    # 360 CSS pixels are 270 points: text of 9 points is not made smaller.
    assert all(width <= 285 for width in widths[1::2])


def test_the_page_says_what_names_mean_and_what_to_do_next(page):
    assert "<small>definition of fp4</small>" in page
    assert "qsim quantize MODEL --format fp6_e2m3 --out packed" in page


def test_new_points_are_marked_among_earlier_ones(results, tmp_path):
    written = write_report(results[:3], tmp_path, provenance=PROVENANCE, earlier=results[3:5])
    text = written[-1].read_text(encoding="utf-8")
    assert text.count("<b>new</b>") == 3 and "New: measured or asked for by this run." in text


def test_points_without_finite_numbers_have_a_report(tmp_path):
    wild = [
        make_point("float32", 32.0, 0.0, 0.0, perplexity=math.nan),
        make_point("int2", 2.0, math.inf, None, perplexity=math.inf, kl_p99=math.nan),
        make_point("int3", 3.0, math.nan, None),
    ]
    text = write_report(wild, tmp_path, provenance=PROVENANCE)[-1].read_text(encoding="utf-8")
    assert "No format has a finite KL divergence." in text
    assert 'data-value="Infinity">inf<' in text and 'data-value="">nan<' in text


def test_names_from_outside_are_text(page):
    parsed = Page(page)
    assert parsed.tags.count("script") == 1
    assert "qsim: what number formats cost <script>alert(1)</script>" in parsed.words
    assert PROVENANCE.command in parsed.words


def test_the_page_has_the_answer_every_point_and_how_it_was_made(page, results):
    parsed = Page(page)
    assert parsed.tags.count("tr") == len(results) + 1 and parsed.tags.count("svg") == 4
    text = " ".join(parsed.words)
    for needed in (
        "The fewest bits with a KL of at most 0.02 nats",
        "8 windows",
        "Weights lie on a grid.",
        "4,096 tokens in 8 windows of 512",
        "ab12",
        "cd34",
        "a machine",
        "jax 0.10",
        "none used",
        "2026-01-01 00:00 UTC",
    ):
        assert needed in text
    assert len(page) < 1_000_000


def test_no_name_is_used_twice(page):
    unlike = re.findall(r'<(?!path|use|clipPath)\w+ id="([^"]+)"', page)
    assert len(unlike) == len(set(unlike))


def test_every_cell_can_be_sorted(page):
    keys = re.findall(r'<td data-value="([^"]*)">', page)
    by_column = [keys[i :: len(TABLE)] for i in range(len(TABLE))]
    for column in by_column[1:]:
        assert all(key == "" or float(key) is not None for key in column)


def test_the_source_grid_is_explained_where_it_occurs(page, tmp_path):
    exact = make_point("int4-floatmin", 5.0, 0.0, 0.0, sqnr_db={"layers.0.mlp.up_proj": 135.0})
    points = [make_point("float32", 32.0, 0.0, 0.0), exact]
    text = write_report(points, tmp_path, provenance=PROVENANCE)[-1].read_text(encoding="utf-8")
    assert "lie on their grid already" in text and "lie on their grid already" not in page
