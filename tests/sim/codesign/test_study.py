"""Every claim of reports/codesign/README.md is what its query says of the tables beside it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hw.pe_record import load_record
from roofline.model.model_shape import load_model
from sim.codesign.accuracy_file import AccuracyRow
from sim.codesign.grid import Grid, Memory, evaluate
from sim.codesign.pairs import Pair
from sim.codesign.search import token_work

STUDY = Path(__file__).parents[3] / "reports" / "codesign"
TABLES = {name: pd.read_csv(STUDY / f"{name}.csv") for name in ("chip", "ecp5", "wins")}
CLAIMS = pd.read_csv(STUDY / "claims.csv", keep_default_na=False, dtype=str)


def test_every_claim_is_its_query_and_stands_in_the_text():
    text = (STUDY / "README.md").read_text()
    assert len(CLAIMS) > 20
    for claim in CLAIMS.itertuples():
        value = format(eval(claim.query, {"len": len}, TABLES), claim.spec)
        assert value == claim.value, claim.query
        assert value in claim.sentence and f"- {claim.sentence}\n" in text
    bullets = [line[2:] for line in text.splitlines() if line.startswith("- ")]
    assert bullets == CLAIMS.sentence.tolist()


def test_winners_are_the_best_of_their_cells():
    chip = TABLES["chip"]
    for row in TABLES["wins"].itertuples():
        of = chip[(chip.question == row.question) & (chip.gb_per_s == row.gb_per_s)]
        of = of if np.isinf(row.kl_limit) else of[of.kl_nats <= row.kl_limit]
        column = {"fastest": "tokens_per_s", "least energy": "energy_j", "smallest": "area_mm2"}
        values = of[column[row.question]]
        assert row.value == (values.max() if row.question == "fastest" else values.min())
        assert row.winner in of[values == row.value].family.tolist()


@pytest.mark.parametrize(
    "weights, activations, element",
    [("int8", "int8", "int8-mac"), ("int4", "int8", "mixpe-w4a8")],
)
def test_rows_are_the_machines_that_codesign_computes(weights, activations, element):
    accuracy = AccuracyRow(
        weights=weights, activations=activations, bits_per_weight=0.0, kl_nats=0.0, kl_se=None,
        loss_nats=0.0, loss_se=None, top1=0.0, tokens=0,
    )  # fmt: skip
    pair = Pair(accuracy=accuracy, record=load_record(element))
    work = token_work(load_model("smollm2-135m"), pair, context=512)
    chip = TABLES["chip"]
    rows = chip[(chip.weights == weights) & (chip.element == element)]
    assert len(rows) >= 10
    for row in rows.to_dict("records"):
        grid = Grid(
            rows=(int(row["rows"]),),
            columns=(1,),
            memories=(Memory(kind="lpddr4", gb_per_s=row["gb_per_s"]),),
            clocks_mhz=(row["clock_mhz"],),
        )
        designs = evaluate(grid, pair, work)
        assert designs.is_valid.all() and designs.area.item() <= 2
        assert 1 / designs.time_s.item() == pytest.approx(row["tokens_per_s"], rel=1e-4)
