"""Measure this machine: rates of matrix products by type, and read bandwidth.

Ceilings are the best of all repetitions, kernels and numbers of threads; every repetition is kept.
A machine whose median repetition is below three quarters of its best is unstable: other programs
run on it, and the rates are not those of the machine.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hw.installed import installed_dram

REPETITIONS = 7
#: Median over best below which a measurement is unstable.
STABLE_SHARE = 0.75
#: Width of a small model's layers, and weights of one layer.
WIDTH = 512
LAYER_WEIGHTS = 12 * WIDTH**2
#: Width of an attention head, tokens in the KV cache, keys and values of one layer's cache.
HEAD_WIDTH = 64
CONTEXT = 256
LAYER_CACHE = 2 * CONTEXT * WIDTH
#: Least size in bytes of the buffer that is read, unless the memory is small.
MIN_READ_BYTES = 512 << 20
#: Share of the memory that a measurement takes at most.
MAX_MEMORY_SHARE = 1 / 8
CACHE_SIZES = Path("/sys/devices/system/cpu/cpu0/cache")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Sizes of what is measured; the defaults are large enough for full rates."""

    #: Side lengths of the square matrices that are multiplied.
    sides: Sequence[int] = (1024, 2048)
    #: Tokens of the prompt that passes the layers.
    prompt: int = 512
    #: Bytes of the weights of all layers.
    layer_bytes: int = 256 << 20
    #: Number of times the layers are allocated; addresses in memory change how fast they are read.
    allocations: int = 4
    #: Size in bytes of the buffer that is read; None: at least four times the largest cache.
    read_bytes: int | None = None


USUAL_SIZES = Sizes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """A rate per second, the best of its repetitions."""

    name: str
    #: Rates of every repetition of the best setting, in operations or bytes a second.
    rates: tuple[float, ...]
    #: Setting of the best rate: side of the matrices, or kernel and threads.
    setting: str

    @property
    def best(self) -> float:
        """Largest rate of any repetition."""
        return max(self.rates)

    @property
    def is_stable(self) -> bool:
        """Whether the median is near the best."""
        return self.steadiness >= STABLE_SHARE

    @property
    def steadiness(self) -> float:
        """Median over best."""
        return self.typical / self.best

    @property
    def typical(self) -> float:
        """The median of the rates."""
        return statistics.median(self.rates)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Measured rates of this machine."""

    cpu: str
    cores: int
    memory_bytes: int
    #: Rates of matrix products by operand type, in operations/s; a multiply-add counts two.
    products: tuple[Ceiling, ...]
    #: Read bandwidth of the memory, in bytes/s.
    read: Ceiling
    #: Rate of a prompt in the layers of a small model, in operations/s.
    prompt: Ceiling
    #: Rate of one token in the layers of a small model, in bytes/s of weights, keys and values.
    vector: Ceiling
    libraries: str
    #: Key of :data:`hw.dram.DRAM`; None where the system does not report it.
    dram: str | None = None

    @property
    def unstable(self) -> tuple[str, ...]:
        """Names of the ceilings whose repetitions scatter too much."""
        ceilings = (*self.products, self.read, self.prompt, self.vector)
        return tuple(c.name for c in ceilings if not c.is_stable)

    @property
    def compute_share(self) -> float:
        """Rate of a prompt over the FP32 peak."""
        return min(1.0, self.prompt.typical / self.products[0].best)

    @property
    def memory_share(self) -> float:
        """Rate of one token over the read bandwidth."""
        return min(1.0, self.vector.typical / self.read.best)


def measure(*, repetitions: int = REPETITIONS, sizes: Sizes = USUAL_SIZES) -> Measurement:
    """Measure matrix products in float32, float64, bfloat16 and int8, and the read bandwidth."""
    import jax

    cores = len(os.sched_getaffinity(0))
    read_bytes = sizes.read_bytes or _read_bytes()
    layers = max(2, min(read_bytes // 2, sizes.layer_bytes) // (4 * LAYER_WEIGHTS))
    timed = partial(_layers, layers=layers, allocations=sizes.allocations, repetitions=repetitions)
    return Measurement(
        cpu=cpu_name(),
        cores=cores,
        memory_bytes=_memory_bytes(),
        products=tuple(
            _product_rate(dtype, sizes.sides, repetitions)
            for dtype in ("float32", "float64", "bfloat16", "int8")
        ),
        read=read_bandwidth(read_bytes, cores, repetitions),
        prompt=timed("prompt", sizes.prompt),
        vector=timed("vector", 1),
        libraries=f"numpy {np.__version__}, jax {jax.__version__}",
        dram=installed_dram(),
    )


def _product_rate(dtype: str, sides: Sequence[int], repetitions: int) -> Ceiling:
    """Time matrix products by XLA, integers into int32 and others into their own type.

    NumPy has no fast integer product to compare with.
    """
    import jax
    import jax.numpy as jnp

    accumulate = jnp.int32 if dtype == "int8" else dtype
    ceilings = []
    with jax.enable_x64(dtype == "float64"):
        product = jax.jit(lambda a, b: jnp.matmul(a, b, preferred_element_type=accumulate))
        for side in sides:
            a = jnp.ones((side, side), dtype)
            times = repeat(partial(_wait_for, product, a, a), repetitions)
            rates = tuple(2.0 * side**3 / t for t in times)
            ceilings.append(Ceiling(name=dtype, rates=rates, setting=f"{side} x {side}"))
    return max(ceilings, key=lambda c: c.best)


def _layers(name: str, rows: int, *, layers: int, allocations: int, repetitions: int) -> Ceiling:
    """Time ``rows`` vectors that pass the layers of a transformer, one vector with its attention.

    A rate is in operations for many vectors, and in bytes of matrices, keys and values for one.
    """
    import jax
    import jax.numpy as jnp

    def normalized(x: Any) -> Any:
        return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-5)

    def attended(queries: Any, keys: Any, values: Any) -> Any:
        scores = jnp.sum(queries.reshape(-1, 1, HEAD_WIDTH) * keys, -1)
        weights = jax.nn.softmax(scores, -1)
        return jnp.sum(weights[..., None] * values, 1).reshape(1, WIDTH)

    def layer(x: Any, weights: Any) -> tuple[Any, None]:
        qkv, o, up, down, keys, values = weights
        queries = (normalized(x) @ qkv.T)[:, :WIDTH]
        x = x + (attended(queries, keys, values) if rows == 1 else queries) @ o.T
        return x + jax.nn.silu(normalized(x) @ up.T) @ down.T, None

    cache = (WIDTH // HEAD_WIDTH, CONTEXT, HEAD_WIDTH)
    matrices = ((3 * WIDTH, WIDTH), (WIDTH, WIDTH), (4 * WIDTH, WIDTH), (WIDTH, 4 * WIDTH))
    run = jax.jit(lambda weights, x: jax.lax.scan(layer, x, weights)[0])
    x, times = jnp.ones((rows, WIDTH)), list[float]()
    for _ in range(allocations):
        weights = [jnp.full((layers, *shape), 1.0 / WIDTH) for shape in (*matrices, cache, cache)]
        times += repeat(partial(_wait_for, run, weights, x), repetitions)
    amount = 2.0 * rows * LAYER_WEIGHTS if rows > 1 else 4.0 * (LAYER_WEIGHTS + LAYER_CACHE)
    setting = f"{layers} layers of width {WIDTH}"
    return Ceiling(name=name, rates=tuple(layers * amount / t for t in times), setting=setting)


def read_bandwidth(size_bytes: int, cores: int, repetitions: int) -> Ceiling:
    """Read an array in disjoint slices, one a thread, by sums, maxima and dot products."""
    array = np.ones(size_bytes // 4, np.float32)
    kernels: dict[str, Callable[[np.ndarray], Any]] = {
        "sum": np.sum,
        "max": np.max,
        "dot": lambda part: np.dot(part, part),
    }
    ceilings = []
    for threads in sorted({1, max(1, cores // 2), cores}):
        parts = np.array_split(array, threads)
        with ThreadPoolExecutor(threads) as pool:
            for name, kernel in kernels.items():
                times = repeat(partial(_run_all, pool, kernel, parts), repetitions)
                rates = tuple(array.nbytes / t for t in times)
                setting = f"{name}, {threads} thread{'s' if threads > 1 else ''}"
                ceilings.append(Ceiling(name="read", rates=rates, setting=setting))
    return max(ceilings, key=lambda c: c.best)


def _wait_for(call: Callable[..., Any], *operands: Any) -> None:
    call(*operands).block_until_ready()


def _run_all(pool: ThreadPoolExecutor, kernel: Callable[[Any], Any], parts: Sequence[Any]) -> None:
    list(pool.map(kernel, parts))


def repeat(call: Callable[[], Any], repetitions: int) -> list[float]:
    """Return the seconds of ``repetitions`` calls, after one that is not timed."""
    call()
    times = []
    for _ in range(repetitions):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return times


def cpu_name() -> str:
    """Return the model of the processor as the system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _read_bytes() -> int:
    """Return 512 MiB or four times the last cache, but not too much of the memory."""
    wanted = max(MIN_READ_BYTES, 4 * _last_cache_bytes())
    return min(wanted, int(_memory_bytes() * MAX_MEMORY_SHARE))


def _last_cache_bytes() -> int:
    """Return the bytes of the largest cache, 0 where the system does not report it."""
    sizes = [path.read_text().strip() for path in CACHE_SIZES.glob("index*/size")]
    units = {"K": 1 << 10, "M": 1 << 20}
    return max((int(s[:-1]) * units[s[-1]] for s in sizes if s[-1:] in units), default=0)
