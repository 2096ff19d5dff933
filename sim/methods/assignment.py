"""What happens to each matrix and each activation of a model: formats and methods by layer."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int32

from numerics import Scheme
from sim.methods.chain import Chain
from sim.methods.step import BlockTransform, ModelTransform, Once, Task
from sim.model.config import ModelConfig
from sim.model.layer_numerics import LayerNumerics
from sim.sources.source import ModelSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Formats and methods of one model, by layer name."""

    #: Configuration of the model after :attr:`transforms`.
    config: ModelConfig
    #: Scheme of each matrix that is quantized, by layer name.
    weights: dict[str, Scheme]
    #: Rounding in each layer; ``None`` if no layer quantizes activations or KV cache.
    numerics: tuple[LayerNumerics, ...] | None
    #: Method of each quantized linear layer that isn't rounded to nearest, by layer name.
    methods: dict[str, Chain]
    #: Transforms of the whole model, in order.
    transforms: tuple[ModelTransform, ...]
    #: Transforms of each block's sites, by layer index and site.
    block_transforms: dict[tuple[int, str], tuple[BlockTransform, ...]]

    @property
    def is_calibrated(self) -> bool:
        """Whether a method reads a calibration text."""
        return any(chain.is_calibrated for chain in self.methods.values())

    @property
    def needs_statistics(self) -> bool:
        """Whether a method reads statistics of the layers' inputs."""
        return any(chain.needs_statistics for chain in self.methods.values())

    def transformed(
        self,
        source: ModelSource,
        tokens: Int32[np.ndarray, "n t"] | None = None,
        once: Once | None = None,
    ) -> ModelSource:
        """Return the model with the transforms applied.

        Parameters
        ----------
        tokens : array, optional
            Calibration windows, for transforms that are learned.
        once : function, optional
            Keeps what is learned, so that an interrupted pass goes on with the same model.
        """
        task = Task(weights=self.weights, numerics=self.numerics, tokens=tokens)
        if once is not None:
            task = replace(task, once=once)
        for transform in self.transforms:
            source = transform.apply(source, task)
        return source
