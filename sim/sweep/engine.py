"""The engine of a sweep: recipes in, finished points out, each stored as soon as it is measured."""

import contextlib
import dataclasses
import hashlib
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int32

import numerics
from sim.calibration.checkpoint import Checkpoint
from sim.calibration.spool import Spool
from sim.calibration.stream import Progress
from sim.calibration.text import Calibration
from sim.methods import catalog as methods
from sim.methods.chain import NEAREST
from sim.sources.embedded import SECOND_NAME
from sim.sources.source import ModelSource
from sim.sources.text import Text
from sim.sweep.definition import definition
from sim.sweep.evaluate import Evaluator, Pass, Scores, window_means
from sim.sweep.network import refuse_network
from sim.sweep.passes import make_pass
from sim.sweep.recipe import FLOAT32, Plan, Recipe, plan
from sim.sweep.result import PointResult, SecondResult
from sim.sweep.shard import Shard
from sim.sweep.statistics import estimate
from sim.sweep.store import FILE, Store, point_key
from sim.sweep.weights import bits_per_weight, model_bytes, weight_bytes
from sim.sweep.windows import Windows

#: Content of the built-in second text in keys.
BUILT_IN_SECOND = "built-in"


@runtime_checkable
class Observer(Protocol):
    """Callbacks for the progress of a sweep."""

    def start(self, points: int, tokens: int) -> None:
        """Begin a sweep of ``points`` points, each measured on ``tokens`` tokens."""

    def point(self, recipe: str) -> None:
        """Begin the measurement of a recipe."""

    def tokens(self, count: float) -> None:
        """Add ``count`` tokens to those done; a block counts as its part of the model."""

    def finish(self, result: PointResult, *, reused: bool) -> None:
        """Accept a finished point, measured now or (``reused``) found in the store."""


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

    def plans(self) -> list[Plan]:
        """Return the plans, the float model's first; raise UserError for unsuitable recipes."""
        return [plan(r, self.source.config) for r in dict.fromkeys((FLOAT32, *self.recipes))]

    def run(self, observer: Observer) -> list[PointResult]:
        """Measure the points that the store lacks; return all points, the float model's first.

        With a shard, these are its own points; the float model's is in one shard of them.
        """
        keyed = {self._key(p.recipe): p for p in self.plans()}
        if self.shard is not None:
            keyed = {key: p for key, p in keyed.items() if self.shard.holds(key)}
        refuse_network(self.directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        store = Store(self.directory / FILE)
        found = {key: known for key in keyed if (known := store.get(key)) is not None}
        missing = {key: p for key, p in keyed.items() if key not in found}
        has_float = any(p.recipe == FLOAT32 for p in missing.values())
        observer.start(len(missing) + (bool(missing) and not has_float), self._all_tokens.size)
        for key, known in found.items():
            found[key] = dataclasses.replace(known, recipe=keyed[key].recipe.name)
            observer.finish(found[key], reused=True)
        for key, result in self._measure(missing, observer):
            store.put(key, result, sample=self._sample_key)
            found[key] = result
            observer.finish(result, reused=False)
        return [found[key] for key in keyed]

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

    def _measure(
        self, missing: Mapping[str, Plan], observer: Observer
    ) -> Iterator[tuple[str, PointResult]]:
        if not missing:
            return
        config = self.source.config
        evaluator = Evaluator(config.vocab_size, self._all_tokens, self.directory)
        with contextlib.closing(evaluator):
            observer.point(FLOAT32.name)
            started = time.perf_counter()
            run = self._pass(plan(FLOAT32, config), {})
            reference = evaluator.reference(run, _progress(observer, config.layers))
            reference_s = time.perf_counter() - started
            for key, point in missing.items():
                if point.recipe == FLOAT32:
                    yield key, self._result(point, reference, evaluator, {}, reference_s)
                else:
                    observer.point(point.recipe.name)
                    yield key, self._measure_one(key, point, evaluator, observer)

    def _measure_one(
        self, key: str, point: Plan, evaluator: Evaluator, observer: Observer
    ) -> PointResult:
        started = time.perf_counter()
        sqnr_db: dict[str, float] = {}
        with Checkpoint(self.directory / f".unfinished-{key[:16]}", key) as checkpoint:
            run = self._pass(point, sqnr_db, checkpoint)
            scored = evaluator.quantized(run, _progress(observer, point.config.layers))
        wall_s = time.perf_counter() - started
        ordered = {name: sqnr_db[name] for name in point.weights if name in sqnr_db}
        return self._result(point, scored, evaluator, ordered, wall_s)

    def _pass(
        self, point: Plan, sqnr_db: dict[str, float], checkpoint: Checkpoint | None = None
    ) -> Pass:
        calibration = None if self.calibration is None else self.calibration.tokens
        spool = Spool(self.memory_bytes / 2, self.directory)
        return make_pass(
            self.source, point, self._all_tokens, calibration, sqnr_db, spool, checkpoint
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
            bits_per_weight=bits_per_weight(point),
            definition=definition(point.recipe),
            weight_bytes=weight_bytes(point),
            model_bytes=model_bytes(point),
            sqnr_db=sqnr_db,
            tokens_per_s=self._all_tokens.size / scored.eval_s,
            wall_s=wall_s,
            second=self._second_result(all_kl[count:], all_delta[count:]),
            notes=self.source.notes,
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
