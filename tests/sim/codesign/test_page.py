"""The page of ``qsim codesign``: whole, self-contained, with all data that its script draws."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from sim.codesign.command import run_codesign
from sim.codesign.options import CodesignOptions
from sim.codesign.page import FIGURES, page
from sim.codesign.page_data import best_by_budget

OPTIONS = CodesignOptions(
    rows=(4, 16), bandwidth=(3.2, 6.4), clock=(100.0, 200.0), formats=("int8", "mxfp4", "fp16")
)


@pytest.fixture(scope="module")
def found():
    return run_codesign("smollm2-135m", OPTIONS)


@pytest.fixture(scope="module")
def text(found):
    return page(found)


def test_the_page_needs_no_network_and_is_small(text):
    assert len(text.encode()) < 3_000_000
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", text) and "@import" not in text
    assert "fetch(" not in text and "XMLHttpRequest" not in text


def test_its_elements_are_closed_and_every_figure_has_a_place(text):
    class Parser(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open_tags, self.ids = [], []

        def handle_starttag(self, tag, attrs):
            self.ids += [value for name, value in attrs if name == "id"]
            if tag not in ("meta", "input", "br"):
                self.open_tags.append(tag)

        def handle_endtag(self, tag):
            assert self.open_tags.pop() == tag

    parser = Parser()
    parser.feed(text)
    assert not parser.open_tags
    script = text[text.index("<script>") :]
    used = set(re.findall(r'\$\("([\w-]+)"\)', script))
    assert used - set(parser.ids) == set() or used - set(parser.ids) == {"clear"}
    assert set(FIGURES) <= set(parser.ids)


def test_numbers_say_what_they_are(text):
    for kind in ("measured", "modelled", "counted", "chosen"):
        assert f"<b>{kind}</b>" in text
    assert "SHA" in text or "wikitext2" in text
    assert "assumed" in text and "Horowitz" in text


def test_the_data_are_the_designs_of_the_front(found, text):
    data = json.loads(
        text[text.index("const DATA = ") + 13 : text.index(";\n", text.index("DATA"))]
    )
    numbers = {design["number"] for design in data["designs"]}
    assert numbers == {design.number for design in found.designs}
    assert data["answer"] in numbers
    for design in data["designs"]:
        total = sum(part["time_s"] for part in design["products"])
        assert 1 / total == pytest.approx(design["values"]["tokens_per_s"], rel=2e-3)
        assert sum(design["area"].values()) == pytest.approx(design["values"]["area_mm2"], rel=2e-3)


def test_the_win_map_has_the_fastest_design_of_each_pair_in_each_area(found):
    space = found.space
    best = best_by_budget(space, np.array([0.03, 0.1]))
    assert best.shape == (2, 2, len(space.pairs), 2)
    from sim.codesign.grid import evaluate

    for place, (pair, work) in enumerate(zip(space.pairs, space.works, strict=True)):
        designs = evaluate(space.grid, pair, work)
        for memory in range(2):
            for budget, most in enumerate((0.03, 0.1)):
                fits = designs.is_valid[:, :, :, memory] & (designs.area[:, :, :, memory] <= most)
                speeds = np.where(fits, 1 / designs.time_s[:, :, :, memory], 0)
                assert best[memory, budget, place, 0] == speeds.max()
