import dataclasses
import errno
import os
import re
from html.parser import HTMLParser

import pytest

from sim.report import ReportProvenance, write_report

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
    assert {url.split(",")[0] for url in Page(page).fetched if url[0] != "#"} == {
        "data:image/png;base64"
    }
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)", page)


def test_names_from_outside_are_text(page):
    parsed = Page(page)
    assert parsed.tags.count("script") == 1
    assert "<script>alert(1)</script>: what number formats cost" in parsed.words
    assert PROVENANCE.command in parsed.words


def test_the_page_has_the_answer_every_point_and_how_it_was_made(page, results):
    parsed = Page(page)
    assert parsed.tags.count("tr") == len(results) + 1 and parsed.tags.count("svg") == 2
    text = " ".join(parsed.words)
    for needed in ("The fewest bits within 0.02 nats", "8 windows", "Weights lie on a grid.",
                   "ab12", "cd34", "a machine", "jax 0.10"):  # fmt: skip
        assert needed in text
    assert len(page) < 1_000_000


def test_a_full_disk_leaves_the_old_files(results, tmp_path, monkeypatch):
    write_report(results, tmp_path, provenance=PROVENANCE)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def no_space(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fdopen", no_space)
    with pytest.raises(OSError, match="No space left on device"):
        write_report(results[:5], tmp_path, provenance=PROVENANCE)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
