"""The engine of a sweep: recipes in, finished points out, each stored as soon as it is measured."""

import contextlib
import dataclasses
import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int32

import numerics
from sim.calibration.checkpoint import Checkpoint
from sim.calibration.spool import Spool
from sim.calibration.stream import Progress
from sim.calibration.text import Calibration
from sim.directories import made_directory
from sim.errors import UserError
from sim.methods import catalog as methods
from sim.methods.block_report import Report, unreported
from sim.methods.chain import NEAREST
from sim.model.tensors import linear_names
from sim.sources.embedded import SECOND_NAME
from sim.sources.source import ModelSource, StoredModel
from sim.sources.text import Text
from sim.sweep.checkpoint import has_same_vectors, point_notes
from sim.sweep.crew import Crew
from sim.sweep.definition import definition
from sim.sweep.evaluate import Evaluator, Pass, Scores, window_means
from sim.sweep.network import refuse_network
from sim.sweep.passes import make_pass
from sim.sweep.recipe import FLOAT32, Plan, Recipe, plan
from sim.sweep.result import PointResult, SecondResult
from sim.sweep.shard import Shard
from sim.sweep.statistics import estimate
from sim.sweep.store import FILE, Store, point_key
from sim.sweep.weights import checkpoint_storage, plan_storage
from sim.sweep.windows import Windows
from sim.workers import Results, Watch

#: Content of the built-in second text in keys.
BUILT_IN_SECOND = "built-in"


@runtime_checkable
class Observer(Protocol):
    """Callbacks for the progress of a sweep."""

    def start(self, points: int, tokens: int) -> None:
        """Begin a sweep of ``points`` points, measured on ``tokens`` tokens in all."""

    def point(self, *recipes: str) -> None:
        """Begin the measurement of a recipe; workers measure several at the same time."""

    def block(self, line: str, done: int) -> None:
        """Accept a line on the last block, and the number of blocks done, of a point."""

    def tokens(self, count: float) -> None:
        """Add ``count`` tokens to those done; a block counts as its part of the model.

        A negative count takes back what a worker that died had done of its point.
        """

    def finish(self, result: PointResult, *, reused: bool) -> None:
        """Accept a finished point, measured now or (``reused``) found in the store."""


@dataclass(frozen=True, slots=True)
class _Reference:
    """The float model's scores, and the evaluator that keeps its logits."""

    evaluator: Evaluator
    scores: Scores
    wall_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Recipes to measure on one model and one sample of text.

    The float model is always measured as a point, because results are differences to it.
    """

    source: ModelSource
    text: Text
    windows: Windows
    recipes: tuple[Recipe, ...]
    #: Directory of ``results.sqlite``.
    directory: Path
    #: Text that calibrated methods read; needed if a recipe has one.
    calibration: Calibration | None = None
    #: Another text that all points are measured on too.
    second: tuple[Text, Windows] | None = None
    #: Memory to stay below, as far as hidden states can be kept on disk instead.
    memory_bytes: float = math.inf
    #: Part of the points to measure and return; ``None`` for all.
    shard: Shard | None = None
    #: Checkpoints of the model that recipes take their weights from, by content hash.
    checkpoints: Mapping[str, StoredModel] = field(default_factory=dict)

    def plans(self) -> list[Plan]:
        """Return the plans, the float model's first; raise UserError for unsuitable recipes."""
        recipes = dict.fromkeys((FLOAT32, *self.recipes))
        return [plan(recipe, self._source_of(recipe).config) for recipe in recipes]

    def _checkpoint_of(self, recipe: Recipe) -> StoredModel | None:
        """Return the checkpoint of a recipe; ``None`` for one of the model's own weights."""
        return None if recipe.checkpoint is None else self.checkpoints[recipe.checkpoint.sha256]

    def _source_of(self, recipe: Recipe) -> ModelSource:
        return self._checkpoint_of(recipe) or self.source

    def run(self, observer: Observer, crew: Crew | None = None) -> list[PointResult]:
        """Measure the points that the store lacks; return all points, the float model's first.

        With a shard, these are its own points; the float model's is in one shard of them. A crew
        measures in other processes; this one alone writes the store.
        """
        keyed = self._keyed()
        refuse_network(self.directory)
        with made_directory(self.directory):
            store = Store(self.directory / FILE)
        found = {key: known for key in keyed if (known := store.get(key)) is not None}
        missing = {key: p for key, p in keyed.items() if key not in found}
        self._announce(missing, observer, crew)
        for key, known in found.items():
            found[key] = dataclasses.replace(known, recipe=keyed[key].recipe.name)
            observer.finish(found[key], reused=True)
        with contextlib.closing(self._results(missing, observer, crew)) as measured:
            for key, result in measured:
                store.put(key, result, sample=self._sample_key)
                found[key] = result
                observer.finish(result, reused=False)
        return [found[key] for key in keyed]

    def _announce(self, missing: Mapping[str, Plan], observer: Observer, crew: Crew | None) -> None:
        """Start an observer with the points to measure and the tokens of all passes."""
        compared = sum(point.recipe != FLOAT32 for point in missing.values())
        if crew is None:
            points = passes = compared + bool(missing)
        else:
            points, passes = len(missing), compared + crew.references(len(missing))
        observer.start(points, passes * self._all_tokens.size)

    def _results(
        self, missing: Mapping[str, Plan], observer: Observer, crew: Crew | None
    ) -> Results:
        """Return the points of keys as they finish, measured here or by a crew."""
        if crew is None:
            return self._measure(missing, observer)
        names = {key: point.recipe.name for key, point in missing.items()}

        def begin(recipes: Sequence[str]) -> None:
            observer.point(*recipes)

        return crew.work(names, Watch(begin=begin, advance=observer.tokens))

    def measurer(self, observer: Observer) -> Callable[[str], PointResult]:
        """Return the function of a worker: it measures the point of a key, and stores nothing."""
        keyed, ready = self._keyed(), self._reference(observer)

        def measure(key: str) -> PointResult:
            if key not in keyed:
                raise UserError(
                    f"a worker has another model, text or version of qsim than {self.source.name}"
                    " here; give all machines the same files and packages"
                )
            return self._point(key, keyed[key], ready, observer)

        return measure

    def _keyed(self) -> dict[str, Plan]:
        """Return the plans by key, those of the shard only."""
        keyed = {self._key(p.recipe): p for p in self.plans()}
        return {k: p for k, p in keyed.items() if self.shard is None or self.shard.holds(k)}

    def missing(self) -> list[Plan]:
        """Return the plans whose points the store lacks, without creating a store."""
        keyed = self._keyed()
        if not (self.directory / FILE).is_file():
            return list(keyed.values())
        store = Store(self.directory / FILE)
        return [point for key, point in keyed.items() if store.get(key) is None]

    def stored(self) -> list[PointResult]:
        """Return all points of the store on this sample, without creating a store."""
        if not (self.directory / FILE).is_file():
            return []
        return list(Store(self.directory / FILE).fitting(self._sample_key).values())

    def earlier(self) -> list[PointResult]:
        """Return the store's other points of this model and these windows of text.

        Points of methods as they were in another version are left out.
        """
        keys = {self._key(recipe) for recipe in (FLOAT32, *self.recipes)}
        stored = Store(self.directory / FILE).fitting(self._sample_key)
        current = str(methods.VERSION)
        return [
            result
            for key, result in stored.items()
            if key not in keys and result.provenance.get("methods_version", current) == current
        ]

    @property
    def tokens_per_point(self) -> int:
        """Tokens that a point is measured on, those of the second text included."""
        return self._all_tokens.size

    @property
    def _all_tokens(self) -> Int32[np.ndarray, "n context"]:
        """Windows of the text, then those of the second one."""
        second = [] if self.second is None else [self.second[1].tokens]
        return np.concatenate([self.windows.tokens, *second])

    def _key(self, recipe: Recipe) -> str:
        """Return the content key of a recipe's point."""
        content = self._sample | {"recipe": recipe.canonical()}
        if any(rule.method != NEAREST for rule in recipe.rules):
            content |= {"methods": str(methods.VERSION)}
        is_calibrated = any(rule.method.is_calibrated for rule in recipe.rules)
        if is_calibrated and self.calibration:
            content |= {"calibration": self.calibration.key}
        # The built-in second text is the rule for calibrated points, none for others.
        second = self._second_content
        if second != (BUILT_IN_SECOND if is_calibrated else ""):
            content |= {"second": second}
        return point_key(content)

    @property
    def _second_content(self) -> str:
        """Content of the second text: empty without one."""
        if self.second is None:
            return ""
        text, windows = self.second
        # The context determines the windows of the built-in text.
        if text.name == SECOND_NAME:
            return BUILT_IN_SECOND
        return f"{text.sha256} {hashlib.sha256(windows.tokens.tobytes()).hexdigest()}"

    @property
    def _sample_key(self) -> str:
        """Content key of everything that comparable points share."""
        return point_key(self._sample)

    @property
    def _sample(self) -> dict[str, str]:
        """Everything, apart from the recipe, that determines a point's numbers."""
        return {
            "model": self.source.content_hash,
            "text": self.text.sha256,
            "sampling": self.windows.sampling,
            "tokens": hashlib.sha256(self.windows.tokens.tobytes()).hexdigest(),
            "numerics": str(numerics.VERSION),
        }

    def _measure(self, missing: Mapping[str, Plan], observer: Observer) -> Results:
        if not missing:
            return
        ready = self._reference(observer)
        with contextlib.closing(ready.evaluator):
            for key, point in missing.items():
                yield key, self._point(key, point, ready, observer)

    def _reference(self, observer: Observer) -> "_Reference":
        """Measure the float model."""
        config = self.source.config
        evaluator = Evaluator(
            config.vocab_size, self._all_tokens, self.directory, unscored=self.windows.unscored
        )
        observer.point(FLOAT32.name)
        started = time.perf_counter()
        try:
            run = self._pass(plan(FLOAT32, config), {})
            scores = evaluator.reference(run, _progress(observer, config.layers))
        except BaseException:
            evaluator.close()
            raise
        return _Reference(evaluator, scores, time.perf_counter() - started)

    def _point(self, key: str, point: Plan, ready: "_Reference", observer: Observer) -> PointResult:
        if point.recipe == FLOAT32:
            return self._result(point, ready.scores, ready.evaluator, {}, ready.wall_s)
        observer.point(point.recipe.name)
        return self._measure_one(key, point, ready.evaluator, observer)

    def _measure_one(
        self, key: str, point: Plan, evaluator: Evaluator, observer: Observer
    ) -> PointResult:
        started = time.perf_counter()
        sqnr_db: dict[str, float] = {}
        with Checkpoint(self.directory / f".unfinished-{key[:16]}", key) as checkpoint:
            run = self._pass(point, sqnr_db, checkpoint, observer.block)
            scored = evaluator.quantized(run, _progress(observer, point.config.layers))
        wall_s = time.perf_counter() - started
        measured = linear_names(point.config) if point.recipe.checkpoint else point.weights
        ordered = {name: sqnr_db[name] for name in measured if name in sqnr_db}
        return self._result(point, scored, evaluator, ordered, wall_s)

    def _pass(
        self,
        point: Plan,
        sqnr_db: dict[str, float],
        checkpoint: Checkpoint | None = None,
        report: Report = unreported,
    ) -> Pass:
        spool = Spool(self.memory_bytes / 2, self.directory)
        weights = self._checkpoint_of(point.recipe)
        is_compared = weights is not None and has_same_vectors(weights, self.source)
        return make_pass(
            weights or self.source,
            point,
            self._all_tokens,
            self.calibration,
            sqnr_db,
            spool,
            checkpoint,
            original=self.source if is_compared else None,
            report=report,
        )

    def _result(
        self,
        point: Plan,
        scored: Scores,
        evaluator: Evaluator,
        sqnr_db: dict[str, float],
        wall_s: float,
    ) -> PointResult:
        count = len(self.windows.tokens)
        all_delta, all_kl = evaluator.difference(scored).tolist(), window_means(scored.kl).tolist()
        delta_nats, kl = all_delta[:count], all_kl[:count]
        delta = estimate(delta_nats)
        first = scored.part(slice(count))
        checkpoint = self._checkpoint_of(point.recipe)
        storage = plan_storage(point) if checkpoint is None else checkpoint_storage(checkpoint)
        notes = self.source.notes
        if checkpoint is not None:
            notes += tuple(f"{point.recipe.name}: {note}" for note in point_notes(checkpoint))
        return PointResult(
            model=self.source.name,
            recipe=point.recipe.name,
            text=self.text.name,
            tokens=self.windows.tokens.size,
            context=self.windows.tokens.shape[1],
            sampling=self.windows.sampling,
            scored=self.windows.scored,
            perplexity=first.perplexity,
            vocab_size=self.source.config.vocab_size,
            delta_nats=delta.mean,
            delta_nats_se=delta.error,
            kl_mean=float(first.kl.mean(dtype=np.float64)),
            kl_mean_se=estimate(kl).error,
            kl_p99=first.kl_p99,
            window_kl=tuple(kl),
            window_delta_nats=tuple(delta_nats),
            top1_agreement=float(first.agrees.mean()),
            bits_per_weight=storage.bits_per_weight,
            definition=definition(point.recipe),
            weight_bytes=storage.weight_bytes,
            model_bytes=storage.model_bytes,
            sqnr_db=sqnr_db,
            tokens_per_s=self._all_tokens.size / scored.eval_s,
            wall_s=wall_s,
            second=self._second_result(all_kl[count:], all_delta[count:]),
            notes=notes,
            provenance={
                "model_sha256": self.source.content_hash,
                "text_sha256": self.text.sha256,
                "numerics_version": str(numerics.VERSION),
                **self._methods_of(point),
            },
        )

    def _second_result(self, kl: list[float], delta_nats: list[float]) -> SecondResult | None:
        """Return a point's means over the windows of the second text."""
        if self.second is None:
            return None
        text, windows = self.second
        means, losses = estimate(kl), estimate(delta_nats)
        return SecondResult(
            text=text.name,
            tokens=windows.tokens.size,
            windows=len(windows.tokens),
            kl_mean=means.mean,
            kl_mean_se=means.error,
            delta_nats=losses.mean,
            delta_nats_se=losses.error,
        )

    def _methods_of(self, point: Plan) -> dict[str, str]:
        """Return provenance of a point's methods, with the calibration set of calibrated ones."""
        if not point.methods and not point.transforms:
            return {}
        version = {"methods_version": str(methods.VERSION)}
        if not point.is_calibrated or self.calibration is None:
            return version
        return version | {
            "calibration": self.calibration.about(self.text),
            "calibration_text_sha256": self.calibration.text.sha256,
        }


def _progress(observer: Observer, blocks: int) -> Progress:
    """Return a function that reports a window as done in as many parts as there are blocks."""

    def advance(tokens: int) -> None:
        observer.tokens(tokens / blocks)

    return advance
