"""Scores of a model on windows of text, compared with the float model's token distributions.

Blocks are run one after another on all windows, so that one block of weights is in memory at a
time. The float model's logits of every scored position are kept in an anonymous temporary file,
which the operating system deletes when the process ends, even if it is killed.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Float64, Int32, Num

from sim.calibration.stream import FLOAT, Progress, Stream
from sim.errors import UserError, os_error_text
from sim.model.config import ModelConfig
from sim.model.forward import normalize
from sim.model.head import reference_scores, scores
from sim.model.layer_numerics import LayerNumerics
from sim.model.params import Params

Numerics = tuple[LayerNumerics, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Measurements per scored position, each of shape (windows, context - unscored), and the time.

    ``eval_s`` is the time of the forward passes.
    """

    nll: Float32[np.ndarray, "n scored"]
    kl: Float32[np.ndarray, "n scored"]
    agrees: Bool[np.ndarray, "n scored"]
    eval_s: float

    def part(self, windows: slice) -> "Scores":
        """Return the measurements of some windows."""
        return Scores(
            nll=self.nll[windows],
            kl=self.kl[windows],
            agrees=self.agrees[windows],
            eval_s=self.eval_s,
        )

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


@dataclass(slots=True, kw_only=True)
class Pass:
    """One run of a model over all windows: its blocks in order, and what is before and after.

    ``blocks`` are parameters that are valid until the next ones are taken; ``head`` is called after
    the last block, so that its tables need no memory before.
    """

    #: The windows before the first of ``blocks``.
    stream: Stream
    blocks: Iterable[Params]
    head: Callable[[], Params]
    numerics: Numerics = None
    #: Called after each block has run.
    after_block: Callable[[], None] = lambda: None


@dataclass(slots=True)
class Evaluator:
    """Evaluates models on fixed windows; the float model comes first.

    Parameters
    ----------
    vocab_size : int
        Size of the model's vocabulary.
    tokens : array (windows, context)
        The text.
    directory : Path
        Holds the float model's logits; ``windows * (context - 1) * vocab_size * 4`` bytes.
    unscored : int
        Tokens at the start of each window that are not scored.
    """

    vocab_size: int
    tokens: Int32[np.ndarray, "n context"]
    directory: Path
    unscored: int = 1
    _logits: Any = None
    _reference_nll: Float32[np.ndarray, "n scored"] | None = None

    def reference(self, run: Pass, progress: Progress) -> Scores:
        """Score the float model and keep its logits."""
        self.close()
        self._logits = self._open_logits_file()
        states, seconds = _final_states(run, progress)
        head, started, nll = run.head(), time.perf_counter(), []
        for x, window in zip(states, self.tokens, strict=True):
            logits, window_nll = _score_reference(
                x, head, jnp.asarray(window), config=run.stream.config
            )
            self._keep(np.asarray(logits))
            nll.append(np.asarray(window_nll)[self.unscored - 1 :])
        self._logits.flush()
        self._reference_nll = np.stack(nll)
        return Scores(
            nll=self._reference_nll,
            kl=np.zeros_like(self._reference_nll),
            agrees=np.ones(self._reference_nll.shape, bool),
            eval_s=seconds + time.perf_counter() - started,
        )

    def quantized(self, run: Pass, progress: Progress) -> Scores:
        """Score a quantized model against the float model's logits."""
        states, seconds = _final_states(run, progress)
        head, started, rows = run.head(), time.perf_counter(), []
        with ThreadPoolExecutor(max_workers=1) as pool:
            reading: Future[np.ndarray] = pool.submit(self._read_logits, 0)
            for index, window in enumerate(self.tokens):
                reference = reading.result()
                if index + 1 < len(self.tokens):
                    reading = pool.submit(self._read_logits, index + 1)
                x, tokens = jnp.asarray(states[index]), jnp.asarray(window)
                rows.append(
                    jax.device_get(_score(x, head, tokens, reference, config=run.stream.config))
                )
        # The first position of a window has no score.
        nll, kl, agrees = (np.stack(c)[:, self.unscored - 1 :] for c in zip(*rows, strict=True))
        seconds += time.perf_counter() - started
        return Scores(nll=nll, kl=kl, agrees=agrees, eval_s=seconds)

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
        return self.tokens.shape[1] - 1, self.vocab_size

    def _open_logits_file(self) -> Any:
        needed = 4 * len(self.tokens) * self._logits_shape[0] * self._logits_shape[1]
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


def _final_states(run: Pass, progress: Progress) -> tuple[Float32[np.ndarray, "n t d"], float]:
    """Return the outputs of the last block, and the time of the forward passes in s."""
    seconds = 0.0
    for params in run.blocks:
        started = time.perf_counter()
        rounding = FLOAT if run.numerics is None else run.numerics[run.stream.index]
        run.stream.advance(params, rounding, progress=progress)
        seconds += time.perf_counter() - started
        run.after_block()
    return run.stream.states, seconds


def _final(x: Float32[Array, "t d"], params: Params, config: ModelConfig) -> Float32[Array, "t d"]:
    return normalize(x, params, "final_norm", config) if config.final_norm else x


@partial(jax.jit, static_argnames="config")
def _score_reference(
    x: Float32[Array, "t d"], params: Params, tokens: Int32[Array, " t"], *, config: ModelConfig
) -> tuple[Float32[Array, "t-1 v"], Float32[Array, " t-1"]]:
    return reference_scores(_final(x, params, config), params, config, tokens)


@partial(jax.jit, static_argnames="config")
def _score(
    x: Float32[Array, "t d"],
    params: Params,
    tokens: Int32[Array, " t"],
    reference_logits: Float32[Array, "t-1 v"],
    *,
    config: ModelConfig,
) -> tuple[Float32[Array, " t-1"], Float32[Array, " t-1"], Bool[Array, " t-1"]]:
    return scores(_final(x, params, config), params, config, tokens, reference_logits)
