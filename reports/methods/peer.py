"""qsim's calibrated methods beside llm-compressor's, on the same model, tokens and schemes.

``python reports/methods/peer.py --peer-python PYTHON --text wikitext2.txt``; PYTHON is that of a virtual
environment with llm-compressor (``python -m venv peer && peer/bin/pip install llmcompressor``), and the
model must be fetched before: ``qsim models fetch smollm2-135m-instruct``. Writes ``peer.csv``. Models
that llm-compressor has written are kept in ``--work`` and not made again; times mean something on an
idle machine only.

llm-compressor's weights are read back dequantized, and one forward pass scores every row: the
divergence of the token distribution from that of the float model.
"""

import argparse
import contextlib
import csv
import json
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from export import export

from sim.calibration.options import BUILT_IN
from sim.calibration.spool import Spool
from sim.calibration.stream import silent
from sim.calibration.text import Calibration
from sim.model.params import Params
from sim.provenance import machine, versions
from sim.sources.catalog import open_model
from sim.sources.hf_directory import open_directory
from sim.sources.source import ModelSource
from sim.sources.text import read_text
from sim.sweep.calibration_texts import read_calibration
from sim.sweep.command import PACKAGES
from sim.sweep.evaluate import Evaluator, Pass, window_means
from sim.sweep.passes import make_pass
from sim.sweep.recipe import FLOAT32, Plan, plan
from sim.sweep.recipe_file import make_recipe
from sim.sweep.statistics import estimate
from sim.sweep.windows import take_windows

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A method of llm-compressor on a scheme, and the method of qsim that it is compared with."""

    weights: str
    theirs: str
    ours: str
    activations: str | None = None

    @property
    def directory(self) -> str:
        """Name of the directory of llm-compressor's model."""
        return re.sub(r"\W+", "-", f"{self.theirs} {self.weights} {self.activations or ''}").strip(
            "-"
        )


#: Groups of 64: llm-compressor refuses groups of 128 in the 576 columns of SmolLM2's layers.
COMPARISONS = (
    Comparison(weights="int4:g64", theirs="gptq", ours="gptq"),
    Comparison(weights="int4:g64:asym", theirs="gptq", ours="gptq"),
    Comparison(weights="int4:g64", theirs="awq+rtn", ours="awq"),
    Comparison(weights="int4:g64:asym", theirs="awq+rtn", ours="awq"),
    Comparison(
        weights="int8:channel",
        activations="int8:token",
        theirs="smoothquant+rtn",
        ours="smoothquant",
    ),
    Comparison(
        weights="int8:channel",
        activations="int8:token",
        theirs="smoothquant+gptq",
        ours="smoothquant+gptq",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the table; ``difference`` is to llm-compressor's row of the same comparison."""

    weights: str
    activations: str
    tool: str
    method: str
    kl: float
    kl_se: float
    difference: float
    difference_se: float
    wall_s: float
    cpu_s: float
    versions: str
    machine: str
    seed: int
    calibration: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Divergence of each window, and the time of the quantization."""

    kl: np.ndarray
    wall_s: float
    cpu_s: float
    versions: str


@dataclass(slots=True)
class Stopwatch:
    """Wall time and processor time of all threads, spent in ``with`` blocks."""

    wall_s: float = 0.0
    cpu_s: float = 0.0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Add the time of the block."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall_s += time.perf_counter() - wall
        self.cpu_s += time.process_time() - cpu


@dataclass(frozen=True, slots=True)
class Study:
    """The model, its texts and the directory of intermediate files."""

    source: ModelSource
    calibration: Calibration
    evaluator: Evaluator
    work: Path
    peer_python: Path
    seed: int

    def rows(self) -> Iterator[Row]:
        """Yield two rows a comparison: llm-compressor's and qsim's."""
        reference = self._pass(self.source, plan(FLOAT32, self.source.config), Stopwatch())
        self.evaluator.reference(reference, silent)
        for comparison in COMPARISONS:
            theirs = self.theirs(comparison)
            yield self.row(comparison, "llm-compressor", comparison.theirs, theirs, theirs)
            ours = self.ours(comparison)
            yield self.row(comparison, "qsim", comparison.ours, ours, theirs)

    def theirs(self, comparison: Comparison) -> Measured:
        """Quantize with llm-compressor unless done before; score its weights."""
        out = self.work / comparison.directory
        if not (out / "timing.json").exists():
            self._compress(comparison, out)
        timing = json.loads((out / "timing.json").read_text())
        recipe = make_recipe(None, comparison.activations) if comparison.activations else FLOAT32
        run = self._pass(open_directory(out), plan(recipe, self.source.config), Stopwatch())
        return Measured(
            kl=window_means(self.evaluator.quantized(run, silent).kl),
            wall_s=timing["wall_s"],
            cpu_s=timing["cpu_s"],
            versions=_joined(timing["versions"]),
        )

    def ours(self, comparison: Comparison) -> Measured:
        """Quantize with qsim, reading and compilation included in the time; score the weights."""
        recipe = make_recipe(comparison.weights, comparison.activations, method=comparison.ours)
        watch = Stopwatch()
        run = self._pass(self.source, plan(recipe, self.source.config), watch)
        return Measured(
            kl=window_means(self.evaluator.quantized(run, silent).kl),
            wall_s=watch.wall_s,
            cpu_s=watch.cpu_s,
            versions=_joined(versions(*PACKAGES)),
        )

    def _pass(self, source: ModelSource, point: Plan, watch: Stopwatch) -> Pass:
        """Return a run of the model under a plan; ``watch`` takes the time of its quantization."""
        with watch.running():
            run = make_pass(source, point, self.evaluator.tokens, self.calibration, {}, Spool())
        return replace(run, blocks=_timed(iter(run.blocks), watch))

    def row(
        self, comparison: Comparison, tool: str, method: str, found: Measured, theirs: Measured
    ) -> Row:
        """Return the line of one measurement, with the paired difference to llm-compressor's."""
        mean, difference = estimate(found.kl.tolist()), estimate((found.kl - theirs.kl).tolist())
        return Row(
            weights=comparison.weights,
            activations=comparison.activations or "float32",
            tool=tool,
            method=method,
            kl=mean.mean,
            kl_se=mean.error or 0.0,
            difference=difference.mean,
            difference_se=difference.error or 0.0,
            wall_s=found.wall_s,
            cpu_s=found.cpu_s,
            versions=found.versions,
            machine=machine(),
            seed=self.seed,
            calibration=self.calibration.key,
        )

    def _compress(self, comparison: Comparison, out: Path) -> None:
        model, tokens = self.work / "float", self.work / "tokens.npy"
        if not model.exists():
            export(self.source, model)
        np.save(tokens, self.calibration.tokens)
        options = {
            "--model": model,
            "--tokens": tokens,
            "--method": comparison.theirs,
            "--weights": comparison.weights,
            "--seed": self.seed,
            "--out": out,
        }
        if comparison.activations is not None:
            options["--activations"] = comparison.activations
        words = [str(word) for option in options.items() for word in option]
        subprocess.run([self.peer_python, HERE / "compress.py", *words], check=True)


def _timed(blocks: Iterator[Params], watch: Stopwatch) -> Iterator[Params]:
    """Yield blocks; ``watch`` takes the time to make them."""
    while True:
        with watch.running():
            block = next(blocks, None)
        if block is None:
            return
        yield block


def _joined(found: dict[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in found.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", type=Path, required=True, help="has llm-compressor")
    parser.add_argument("--text", type=Path, required=True, help="WikiText-2 raw test split")
    parser.add_argument("--model", default="smollm2-135m-instruct", help="a Llama-family model")
    parser.add_argument("--tokens", type=int, default=32768, help="tokens to score")
    parser.add_argument("--work", type=Path, default=HERE / "build", help="intermediate models")
    parser.add_argument("--seed", type=int, default=0, help="of llm-compressor's order of windows")
    args = parser.parse_args()
    source = open_model(args.model)
    calibration = read_calibration(BUILT_IN, source, (make_recipe("int4", method="gptq"),))
    assert calibration is not None
    args.work.mkdir(parents=True, exist_ok=True)
    windows = take_windows(
        read_text(args.text), source.tokenizer(), tokens=args.tokens, context=512, spread=False
    )
    evaluator = Evaluator(source.config.vocab_size, windows.tokens, args.work)
    study = Study(source, calibration, evaluator, args.work, args.peer_python, args.seed)
    with (HERE / "peer.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, Row.__dataclass_fields__, lineterminator="\n")
        writer.writeheader()
        for row in study.rows():
            writer.writerow(asdict(row))
            file.flush()
            print(row)
    evaluator.close()


if __name__ == "__main__":
    main()
