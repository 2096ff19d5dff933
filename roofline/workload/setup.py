"""A setup: model, format, machines and engine; with a request, all that a prediction needs."""

from dataclasses import dataclass, replace
from typing import Literal

from hw.machine import Machine
from roofline.model.model_shape import ModelShape
from roofline.runtime.activations import as_run
from roofline.runtime.engine import Engine, GpuBackend, engine_for
from roofline.runtime.serving_format import ServingFormat
from roofline.workload.step import Options

#: How several machines share a model. ``tensor``: a part of every layer each. ``pipeline``: some of
#: the layers each. ``expert``: some of the experts each, a copy of everything else, and sequences
#: of their own. ``rows``: some rows of every weight each, and the first machine everything else
#: (llama.cpp's ``-sm row``).
Parallel = Literal["tensor", "pipeline", "expert", "rows"]
DEFAULT_OPTIONS = Options()


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """One model in one format on one or more machines of one kind.

    ``format`` has the activations that the engine multiplies on the machine (:func:`as_run`).
    """

    shape: ModelShape
    format: ServingFormat
    machine: Machine
    #: Engine that runs the model; None for the default engine of the format.
    engine: Engine | None = None
    machines: int = 1
    parallel: Parallel = "tensor"
    #: Threads of a CPU; None for all cores.
    threads: int | None = None
    options: Options = DEFAULT_OPTIONS

    def __post_init__(self) -> None:
        if self.machines < 1:
            raise ValueError(f"{self.machines} machines; at least 1")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"{self.threads} threads; at least 1")
        if self.engine is not None and not self.engine.runs(self.format):
            raise ValueError(f"{self.engine.name} does not run weights in {self.format.name}")
        object.__setattr__(self, "format", as_run(self.format, self.machine, self.runtime))
        if self.parallel == "rows" and self.runtime.gpu is None:
            raise ValueError(f"{self.runtime.name} does not split rows; use tensor or pipeline")
        if self.parallel == "expert":
            experts = self.shape.experts
            if experts is None or self.machines > experts.count:
                have = f"{experts.count if experts else 'no'} experts"
                raise ValueError(
                    f"{self.shape.name} has {have} to share among {self.machines} machines;"
                    " use tensor or pipeline"
                )

    @property
    def runtime(self) -> Engine:
        """The engine that runs the model."""
        return self.engine or engine_for(self.format)

    @property
    def backend(self) -> GpuBackend | None:
        """The engine's own GPU backend; None on other machines and for fused kernels."""
        return self.runtime.backend(self.machine)

    @property
    def thread_share(self) -> float:
        """Share of a CPU's cores that compute."""
        if self.threads is None or self.machine.cores is None:
            return 1.0
        return min(1.0, self.threads / self.machine.cores.count.value)

    @property
    def split(self) -> int:
        """Number of machines that split the GEMM of a weight matrix."""
        return self.machines if self.parallel in ("tensor", "rows") else 1

    @property
    def rest_split(self) -> int:
        """Number of machines that share operators without weights."""
        return 1 if self.parallel == "rows" else self.split

    @property
    def kv_split(self) -> int:
        """Number of machines with different parts of a sequence's KV cache, at most its heads.

        Latent attention has one vector for all heads, which each machine needs.
        """
        heads = 1 if self.shape.latent is not None else self.shape.kv_heads
        return min(self.rest_split, heads)

    @property
    def best(self) -> "Setup":
        """The setup with all machines at work on each operator, which bounds any other sharing."""
        return replace(self, parallel="tensor")
