"""Measure the accuracy tables that ``qsim codesign`` ships: ``python reports/codesign/accuracy.py``.

Writes ``sim/codesign/accuracy/MODEL.csv`` and resumes where it was stopped. The embedded model takes
about 15 minutes on an idle machine and needs nothing but qsim. SmolLM2 must be fetched before with
``qsim models fetch smollm2-135m-instruct`` and reads ``--text``, the WikiText-2 raw test split, whose
licence keeps it out of this repository.

Every row is a sweep's point: linear layers rounded to nearest, embeddings and lm_head in float32.
``--csv FILE`` writes the table of ``--model`` from the results.csv of a study instead.
"""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from numerics import CATALOG
from sim.codesign.accuracy import recipe_key
from sim.codesign.accuracy_file import AccuracyRow, write_accuracy
from sim.provenance import created, versions
from sim.sources.catalog import open_model
from sim.sweep.command import PACKAGES, fitting
from sim.sweep.engine import Sweep
from sim.sweep.progress import ProgressObserver
from sim.sweep.recipe import FLOAT32, Recipe
from sim.sweep.recipe_file import make_recipe
from sim.sweep.scored import scored_text

HERE = Path(__file__).parent
TABLES = HERE.parents[1] / "sim" / "codesign" / "accuracy"
#: Sixteen windows of text: a standard error with 15 degrees of freedom.
TOKENS, CONTEXT = 4096, 256
#: Starts of the names of formats whose codes take minutes to find; no machine's PE reads them.
SLOW = ("aqlm", "vptq", "spqr", "any-precision", "kmeans", "e8p-")
#: Points between two versions of the table on disk.
AT_ONCE = 16
#: Weights that PEs with INT8 activations read.
INTEGERS = (
    "int2", "int3", "int4", "int5", "int6", "int7", "int8", "int4:channel", "int8:channel",
    "int4:g32", "int4:g64", "int8-gptq-sym", "int4-gptq-sym", "dint3", "dint4", "dint3-f", "dint4-f",
    "ternary", "bitnet-ternary", "twn", "int4:g128:e8m0", "int4-vs-s7:g128", "int4-asym", "int1",
    "fbi-binary", "e8p", "nf4_int8",
)  # fmt: skip
#: Points of the best-known formats on PEs, which are measured first.
FIRST = (
    ("int8", "int8"), ("int4", "int8"), ("mxfp4", "mxfp4"), ("nvfp4", "nvfp4:token"),
    ("bitmod-fp4", None), ("int8", None), ("dint4", "int8"), ("int4:g128:e8m0", "int8"),
    ("int6", "int8"), ("fp8_e4m3", "fp8_e4m3"), ("fp4", "fp8_e4m3"), ("int4", None),
    ("int4-vs-s7:g128", "int8"), ("ternary", "int8"), ("int5", "int8"), ("int4", "int4"),
)  # fmt: skip
#: PEs with FP16 activations whose sums round, and the weights that each reads.
ROUNDING = {
    "bitmod-fp4-aligned": "bitmod-fp4",
    "bitmod-fp4-nearest": "bitmod-fp4",
    "bitmod-fp3-aligned": "bitmod-fp3",
    "bitmod-int8-aligned": "int8",
    "bitmod-int6-aligned": "int6",
    "bitmod-int5-aligned": "int5",
    "bitmod-int4-aligned": "int4",
    "bitmod-fp4-special": "bitmod-fp4",
    "mixpe-w4a16-running": "int4",
}
#: Weights, activations, KV cache and PE of a point.
Key = tuple[str | None, str | None, str | None, str | None]


def keys(*, with_rounding: bool) -> Iterator[Key]:
    """Yield the points that PEs need first, then every named format with FP16 activations."""
    yield from ((w, a, None, None) for w, a in FIRST)
    for kv in (None, "int8"):
        if kv is not None:
            quick = (name for name in CATALOG if not name.startswith(SLOW))
            yield from ((name, None, None, None) for name in quick)
        yield from ((name, "int8", kv, None) for name in INTEGERS)
        yield ("fp8_e4m3", "fp8_e4m3", kv, None)
        yield from (("fp4", a, kv, None) for a in ("fp4", "fp8_e4m3"))
        yield from ((name, "mxfp4", kv, None) for name in CATALOG if name.startswith("mxfp4"))
        yield ("nvfp4", "nvfp4:token", kv, None)
    yield (None, None, "int8", None)
    if with_rounding:
        yield from ((w, None, None, pe) for pe, w in ROUNDING.items())


def from_study(path: Path, model: str) -> None:
    """Write a model's table from the results of a study, whose divergences have no error."""
    rows = []
    with path.open(encoding="utf-8") as file:
        for found in csv.DictReader(file):
            key = recipe_key(found["recipe"])
            if key is None:
                continue
            rows.append(
                AccuracyRow(
                    **key,
                    bits_per_weight=float(found["bits_per_weight"]),
                    kl_nats=float(found["kl_mean"]),
                    kl_se=float(found["kl_mean_se"]) if found.get("kl_mean_se") else None,
                    loss_nats=float(found["delta_nats"]),
                    loss_se=float(found["delta_nats_se"]),
                    top1=float(found["top1_agreement"]),
                    tokens=int(found["tokens"]),
                )
            )
    about = {
        "command": f"python reports/codesign/accuracy.py --model {model} --csv {path}",
        "kind": "measured",
        "model": found["model"],
        "text": found["text"],
        "sample": f"{int(found['tokens']):,} tokens in windows of {found['context']}",
        "method": "rtn: rounding to nearest; embeddings and lm_head in float32",
        "made": f"by {path.parent}/study.py, see its README.md",
    }
    write_accuracy(TABLES / f"{model}.csv", rows, about)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--text", type=Path, help="text to score; built in if not given")
    parser.add_argument("--work", type=Path, default=HERE / "build", help="store of the sweeps")
    parser.add_argument("--csv", type=Path, help="results.csv of a study to take instead")
    args = parser.parse_args()
    if args.csv:
        from_study(args.csv, args.model)
        return
    source = open_model(args.model)
    text, windows = scored_text(
        args.text, source, tokens=TOKENS, context=CONTEXT, spread=args.text is not None
    )
    named: dict[Recipe, Key] = {FLOAT32: (None, None, None, None)}
    for key in keys(with_rounding=args.model == "embedded"):
        w, a, kv, pe = key
        named.setdefault(make_recipe(w, a, kv, pe=pe), key)
    recipes, refused = fitting(list(named), source, kept=())
    for line in refused:
        print("left out:", line)
    about = {
        "command": f"python reports/codesign/accuracy.py --model {args.model}",
        "kind": "measured",
        "model_sha256": source.content_hash,
        "text": f"{text.name}, SHA-256 {text.sha256}",
        "sample": f"{windows.tokens.size:,} tokens; {windows.sampling}",
        "method": "rtn: rounding to nearest; embeddings and lm_head in float32",
        "left out": f"formats that start with {', '.join(SLOW)}: minutes a point",
        "versions": ", ".join(f"{k} {v}" for k, v in versions(*PACKAGES).items()),
        "made": created(),
    }
    path = TABLES / f"{args.model.removesuffix('-instruct')}.csv"
    rows: list[AccuracyRow] = []
    for start in range(0, len(recipes), AT_ONCE):
        part = recipes[start : start + AT_ONCE]
        sweep = Sweep(
            source=source,
            text=text,
            windows=windows,
            recipes=part,
            directory=args.work / args.model,
        )
        with ProgressObserver(Console(stderr=True), as_json=False) as observer:
            points = sweep.run(observer)
        # The float model is a point of every sweep.
        found = zip(dict.fromkeys((FLOAT32, *part)), points, strict=True)
        rows += [AccuracyRow.of(*named[r], p) for r, p in found if r != FLOAT32 or not rows]
        write_accuracy(path, rows, about)
    print(path)


if __name__ == "__main__":
    main()
