"""The tensors of one block as the forward pass reads them, in memory that the next block reuses."""

from collections.abc import Mapping

import numpy as np

from sim.model.config import ModelConfig
from sim.model.params import Params, aligned_empty, to_device
from sim.model.tensors import block_slots, layer_shapes


class BlockBuffers:
    """One float32 copy of a block; matrices that share an input lie in one buffer, row after row.

    :meth:`params` gives JAX arrays over these buffers: on a CPU the same memory, elsewhere a copy
    on the device. They are valid until the next :meth:`write`, so results of a computation must
    have arrived before it.
    """

    def __init__(self, config: ModelConfig) -> None:
        shapes, slots = layer_shapes(config), block_slots(config)
        rows: dict[str, int] = {}
        for name, (buffer, row) in slots.items():
            rows[buffer] = max(rows.get(buffer, 0), row + shapes[name][0])
        columns = {buffer: shapes[name][1:] for name, (buffer, _) in slots.items()}
        self._buffers = {b: aligned_empty((count, *columns[b])) for b, count in rows.items()}
        #: Tensors by canonical name after ``layers.{i}.``, as views of the buffers.
        self.tensors: Mapping[str, np.ndarray] = {
            name: self._buffers[buffer][row : row + shapes[name][0]]
            for name, (buffer, row) in slots.items()
        }

    def write(self, name: str, tensor: np.ndarray) -> None:
        """Copy a tensor to its place."""
        place = self.tensors[name]
        if place.shape != tensor.shape:
            raise ValueError(f"tensor {name} has shape {tensor.shape}, expected {place.shape}")
        if place is not tensor:
            place[...] = tensor

    def params(self) -> Params:
        """Return the parameters of the block."""
        return {name: to_device(buffer) for name, buffer in self._buffers.items()}
