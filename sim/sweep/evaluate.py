"""Scores of a model on windows of text, compared with the float model's token distributions.

The float model's logits of every scored position are kept in an anonymous temporary file, which the
operating system deletes when the process ends, even if it is killed.
"""

import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Float64, Int32, Num

from sim.errors import UserError, os_error_text
from sim.model.config import ModelConfig
from sim.model.forward import hidden_states
from sim.model.head import reference_scores, scores
from sim.model.layer_numerics import LayerNumerics
from sim.model.params import Params
from sim.sweep.windows import Windows

Numerics = tuple[LayerNumerics, ...] | None
#: Called after each window with the number of tokens done.
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Measurements per scored position, each of shape (windows, context - 1), and the time.

    ``eval_s`` is the time of the forward passes, compilation excluded.
    """

    nll: Float32[np.ndarray, "n scored"]
    kl: Float32[np.ndarray, "n scored"]
    agrees: Bool[np.ndarray, "n scored"]
    eval_s: float

    @property
    def perplexity(self) -> float:
        """Exponential of the mean negative log-likelihood; infinite if that exceeds 709.8."""
        with np.errstate(over="ignore"):
            return float(np.exp(self.nll.mean(dtype=np.float64)))

    @property
    def kl_p99(self) -> float:
        """99th percentile of the divergence over positions."""
        with np.errstate(invalid="ignore"):
            return float(np.percentile(self.kl, 99))


def window_means(values: Num[np.ndarray, "n scored"]) -> Float64[np.ndarray, " n"]:
    """Return the mean of each window over its positions."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(values.mean(axis=1, dtype=np.float64))


@dataclass(slots=True)
class Evaluator:
    """Evaluates parameters of one model on fixed windows; the float model comes first.

    Parameters
    ----------
    config, windows
        The model's shape and the text.
    directory : Path
        Holds the float model's logits; ``windows.scored * vocab_size * 4`` bytes.
    """

    config: ModelConfig
    windows: Windows
    directory: Path
    _compiled: dict[Any, Any] = field(default_factory=dict)
    _logits: Any = None
    _reference_nll: Float32[np.ndarray, "n scored"] | None = None

    def reference(self, params: Params, progress: Progress) -> Scores:
        """Score the float model and keep its logits."""
        self.close()
        self._logits = self._open_logits_file()
        run = self._compile("reference", partial(_score_reference, config=self.config), params)
        nll, started = [], time.perf_counter()
        for window in self.windows.tokens:
            logits, window_nll = run(params, jnp.asarray(window))
            self._keep(np.asarray(logits))
            nll.append(np.asarray(window_nll))
            progress(len(window))
        self._logits.flush()
        self._reference_nll = np.stack(nll)
        return Scores(
            nll=self._reference_nll,
            kl=np.zeros_like(self._reference_nll),
            agrees=np.ones(self._reference_nll.shape, bool),
            eval_s=time.perf_counter() - started,
        )

    def quantized(self, params: Params, numerics: Numerics, progress: Progress) -> Scores:
        """Score quantized parameters against the float model's logits."""
        key = (numerics, jax.tree.structure(params))
        score = partial(_score, config=self.config, numerics=numerics)
        logits = jax.eval_shape(partial(jnp.zeros, self._logits_shape, jnp.float32))
        run = self._compile(key, score, params, logits)
        rows, started = [], time.perf_counter()
        with ThreadPoolExecutor(max_workers=1) as pool:
            reading: Future[np.ndarray] = pool.submit(self._read_logits, 0)
            for index, window in enumerate(self.windows.tokens):
                reference = reading.result()
                if index + 1 < len(self.windows.tokens):
                    reading = pool.submit(self._read_logits, index + 1)
                rows.append(jax.device_get(run(params, jnp.asarray(window), reference)))
                progress(len(window))
        nll, kl, agrees = (np.stack(column) for column in zip(*rows, strict=True))
        return Scores(nll=nll, kl=kl, agrees=agrees, eval_s=time.perf_counter() - started)

    def close(self) -> None:
        """Delete the logits."""
        if self._logits is not None:
            self._logits.close()

    def difference(self, scored: Scores) -> Float64[np.ndarray, " n"]:
        """Return the mean difference in nats to the float model of each window."""
        assert self._reference_nll is not None
        with np.errstate(invalid="ignore"):  # the difference of two infinities is NaN
            return window_means(scored.nll.astype(np.float64) - self._reference_nll)

    @property
    def _logits_shape(self) -> tuple[int, int]:
        return self.windows.tokens.shape[1] - 1, self.config.vocab_size

    def _open_logits_file(self) -> Any:
        needed = 4 * len(self.windows.tokens) * self._logits_shape[0] * self._logits_shape[1]
        free = shutil.disk_usage(self.directory).free
        if needed > free:
            raise UserError(
                f"the float model's logits need {needed / 1e6:,.1f} MB in {self.directory}, "
                f"which has {free / 1e6:,.1f} MB free; lower --tokens or give another --out"
            )
        return tempfile.TemporaryFile(dir=self.directory, prefix=".logits-")

    def _keep(self, logits: Float32[np.ndarray, "scored v"]) -> None:
        try:
            self._logits.write(logits.data)
        except OSError as error:
            reason = os_error_text(error, self.directory)
            raise UserError(
                f"cannot keep the float model's logits in {reason}; or lower --tokens"
            ) from None

    def _read_logits(self, index: int) -> Float32[np.ndarray, "scored v"]:
        rows, vocab = self._logits_shape
        count = rows * vocab
        self._logits.seek(4 * count * index)
        return np.fromfile(self._logits, np.float32, count).reshape(rows, vocab)

    def _compile(self, key: Any, function: Any, params: Params, *more: Any) -> Any:
        """Compile a scoring function for one window, once for each key."""
        if key not in self._compiled:
            tokens = self.windows.tokens[0]
            self._compiled[key] = jax.jit(function).lower(params, tokens, *more).compile()
        return self._compiled[key]


def _score_reference(
    params: Params, tokens: Int32[Array, " t"], *, config: ModelConfig
) -> tuple[Float32[Array, "t-1 v"], Float32[Array, " t-1"]]:
    hidden = hidden_states(params, tokens, config)
    return reference_scores(hidden, params, config, tokens)


def _score(
    params: Params,
    tokens: Int32[Array, " t"],
    reference_logits: Float32[Array, "t-1 v"],
    *,
    config: ModelConfig,
    numerics: Numerics,
) -> tuple[Float32[Array, " t-1"], Float32[Array, " t-1"], Bool[Array, " t-1"]]:
    hidden = hidden_states(params, tokens, config, numerics)
    return scores(hidden, params, config, tokens, reference_logits)
