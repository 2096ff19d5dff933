"""Calibrated methods on formats: what each loses, and what it needs at run time.

``python reports/methods/study.py [--model MODEL --text FILE] --work DIR`` measures one model and writes
its CSV; ``python reports/methods/study.py --page`` draws figure and page from all CSV files. Finished
points are kept in ``--work``.
"""

import argparse
import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from sim.model.online_cost import online_cost
from sim.report.style import drawing, new_figure, png
from sim.report.table import with_error
from sim.report.write import replace_files
from sim.sources.catalog import open_model
from sim.sources.known import EMBEDDED_ID
from sim.sweep.command import run_sweep
from sim.sweep.options import SweepOptions
from sim.sweep.recipe import plan
from sim.sweep.recipe_file import make_recipe
from sim.sweep.result import PointResult
from sim.sweep.statistics import estimate, half_width

HERE = Path(__file__).parent
#: GPTQ towards the outputs of the float model.
TARGET = "gptq(target=model)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A format of weights and activations, and the methods measured on it; ``rtn`` comes first."""

    weights: str
    activations: str | None = None
    methods: tuple[str, ...]

    @property
    def name(self) -> str:
        """Formats of weights and activations."""
        return self.weights + (f" x {self.activations}" if self.activations else "")


CASES = (
    Case(
        weights="int3:g64:asym",
        methods=(
            "rtn", "clip(weight=none)", "clip", "lwc", "awq", "gptq", "awq+gptq", "rotate+gptq", TARGET,
            f"{TARGET[:-1]},strength=1)",
        ),
    ),
    Case(weights="int4:g128:asym", methods=("rtn", "clip", "awq", "gptq", "awq+gptq", TARGET)),
    Case(weights="mxfp4", methods=("rtn", "gptq")),
    Case(weights="nf4:g64", methods=("rtn", "gptq", "gptq+lorc")),
    Case(weights="bitmod-fp3", methods=("rtn", "gptq")),
    Case(weights="int8:channel", activations="int8", methods=("rtn", "smoothquant", "aqas")),
    Case(weights="int4:g128", activations="int8", methods=("rtn", "aqas", "gptq", "aqas+gptq")),
    Case(
        weights="int4:channel",
        activations="int4",
        methods=("rtn", "rotate", "rotate(r4=true)", "rotate(r4=true)+gptq"),
    ),
)  # fmt: skip
FIELDS = (
    "model", "text", "format", "method", "bits_per_weight", "kl", "kl_half", "ratio", "ratio_half",
    "second_kl", "second_half", "loss_nats", "additions_per_token", "wall_s", "windows",
    "calibration", "machine", "versions", "made",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default=EMBEDDED_ID)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--work", type=Path, default=Path("methods-work"))
    parser.add_argument("--formats", nargs="*", help="only these formats of weights")
    parser.add_argument("--page", action="store_true")
    given = parser.parse_args()
    if not given.page:
        cases = [c for c in CASES if not given.formats or c.weights in given.formats]
        rows = [row for case in cases for row in measure(given, case)]
        write_rows(HERE / f"{given.model.replace('/', '-')}.csv", rows)
    write_page()


def measure(given: argparse.Namespace, case: Case) -> list[dict[str, object]]:
    """Return a row for each method on a format."""
    options = SweepOptions(
        model=given.model,
        text=given.text,
        tokens=given.tokens,
        spread=True,
        formats=(case.weights,),
        activations=case.activations,
        methods=case.methods,
        out=given.work / given.model.replace("/", "-"),
        only=True,
    )
    outcome = run_sweep(options)
    points = [p for p in outcome.results if p.recipe != "float32"]
    config = open_model(given.model).config
    rows = []
    for method, point in zip(case.methods, points, strict=True):
        recipe = make_recipe(case.weights, case.activations, method=method)
        second = point.second
        assert second is not None
        ratio, ratio_half = ratio_to(point, points[0])
        rows.append(
            {
                "model": point.model,
                "text": point.text,
                "format": case.name,
                "method": method,
                "bits_per_weight": point.bits_per_weight,
                "kl": point.kl_mean,
                "kl_half": half_width(point.kl_mean_se, point.windows),
                "ratio": ratio,
                "ratio_half": ratio_half,
                "second_kl": second.kl_mean,
                "second_half": half_width(second.kl_mean_se, second.windows),
                "loss_nats": point.delta_nats,
                "additions_per_token": online_cost(plan(recipe, config).config).additions,
                "wall_s": point.wall_s,
                "windows": point.windows,
                "calibration": point.provenance.get("calibration", ""),
                "machine": outcome.provenance.machine,
                "versions": " ".join(f"{k} {v}" for k, v in outcome.provenance.versions.items()),
                "made": outcome.provenance.created,
            }
        )
    return rows


def ratio_to(point: PointResult, base: PointResult) -> tuple[float, float | None]:
    """Return the ratio of two mean divergences and its 95 % interval, by windows in pairs.

    The error of a ratio of means is that of ``kl - ratio * base`` over the mean of the base.
    """
    kl, other = np.array(point.window_kl), np.array(base.window_kl)
    ratio = float(kl.mean() / other.mean())
    error = estimate((kl - ratio * other).tolist()).error
    half = half_width(error, point.windows)
    return ratio, None if half is None else half / float(other.mean())


def write_rows(path: Path, rows: Sequence[dict[str, object]]) -> None:
    """Write rows; rows of other formats that the file has stay."""
    measured = {row["format"] for row in rows}
    kept = [row for row in read_rows(path) if row["format"] not in measured]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows([*kept, *rows])


def read_rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_page() -> None:
    """Write page and figure of all models that were measured."""
    models = [rows for path in sorted(HERE.glob("*.csv")) if (rows := read_rows(path))]
    models = [rows for rows in models if "ratio" in rows[0]]
    page = PAGE.format(tables="\n".join(map(table, models)))
    files = {"README.md": page.encode(), "methods.png": png(figure(models))}
    print(*replace_files(HERE, files), sep="\n")


def number(row: dict[str, str], field: str) -> float | None:
    return float(row[field]) if row[field] else None


def table(rows: Sequence[dict[str, str]]) -> str:
    """Return a model's rows as Markdown."""
    first = rows[0]
    lines = [
        f"## {first['model']} on {first['text']}, {first['windows']} windows",
        "",
        "| format | method | bits/weight | KL (nats) | of rtn's | KL on a second text | run-time additions a token |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        kl = with_error(float(row["kl"]), number(row, "kl_half"), ".4f")
        second = with_error(float(row["second_kl"]), number(row, "second_half"), ".4f")
        ratio = (
            "1"
            if row["method"] == "rtn"
            else with_error(float(row["ratio"]), number(row, "ratio_half"), ".2f")
        )
        lines.append(
            f"| {row['format']} | `{row['method']}` | {float(row['bits_per_weight']):.3f} | {kl} | {ratio} | "
            f"{second} | {int(float(row['additions_per_token'])):,} |"
        )
    calibration = next((row["calibration"] for row in rows if row["calibration"]), "nothing")
    lines += [
        "",
        f"Calibrated on {calibration}. Made {first['made']}; {first['machine']}; {first['versions']}.",
        "",
    ]
    return "\n".join(lines)


def figure(models: Sequence[Sequence[dict[str, str]]]) -> Figure:
    """Draw each method's divergence relative to rounding to nearest, one panel a model."""
    names = list(
        dict.fromkeys(
            f"{r['format']}  {r['method']}" for rows in models for r in rows if r["method"] != "rtn"
        )
    )
    with drawing():
        drawn = new_figure(4.0 + 3.2 * len(models), 0.24 * len(names) + 1.4)
        axes = drawn.subplots(1, len(models), sharey=True, squeeze=False)[0]
        for panel, rows in zip(axes, models, strict=True):
            for row in rows:
                if row["method"] == "rtn":
                    continue
                place = names.index(f"{row['format']}  {row['method']}")
                half = number(row, "ratio_half")
                panel.errorbar(
                    float(row["ratio"]), place, xerr=None if half is None or math.isnan(half) else half,
                    fmt="o", ms=4, color="C0", ecolor="0.4", capsize=2,
                )  # fmt: skip
            panel.axvline(1.0, color="0.6", lw=0.8)
            panel.set_xlim(left=0)
            panel.set_title(f"{rows[0]['model']}")
            panel.set_xlabel("KL, as a part of rounding to nearest's")
            panel.grid(axis="x", color="0.92", lw=0.6)
        axes[0].set_yticks(range(len(names)), names, fontsize=7)
        axes[0].invert_yaxis()
        drawn.suptitle(
            "Calibrated methods beside rounding to nearest (less is better)", x=0.01, ha="left"
        )
    return drawn


PAGE = """# Calibrated methods on formats

Each row quantizes all linear layers of a model by one method. KL: mean divergence of the next-token
distribution from that of float32, with its 95 % interval over windows; the ratio to rounding to nearest is
of the same windows, in pairs. Calibration text is never the scored text; the second text is of another
kind (Python's language reference). `gptq(target=model)` approaches the float model's outputs on the
quantized inputs, by a quarter of the way (on a larger model the full correction made matters much worse:
measure it before use). The last column counts transforms at run time, as of `rotate(r4=true)`.

![KL relative to rounding to nearest](methods.png)

{tables}
[peer.md](peer.md) says how qsim compares with llm-compressor on the same weights, tokens and schemes.

Made by `python reports/methods/study.py`.
"""

if __name__ == "__main__":
    main()
