"""The parameters of a model as the forward pass reads them, in buffers that sweeps reuse.

Layers are stacked along the first axis for ``jax.lax.scan``; matrices that share an input lie in
one buffer, rows one after another, for one large product. On a CPU, JAX computes in the memory
of :class:`ModelBuffers`, so that there is one float32 copy of the weights.
"""

import math
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from sim.model.config import ModelConfig
from sim.model.tensors import buffer_shapes, slots, tensor_shapes

#: ``embed`` (vocab, d), ``positions`` (rows, d), ``final_norm`` (d,), ``final_norm_bias``, ``head``
#: (vocab, d; absent where tied) and ``head_bias``; under ``layers`` the stacked ``qkv``, ``o``,
#: ``gate_up``, ``down`` (layers, out, in), optionally with ``_bias``, and the norms. For
#: bit-true products a matrix may instead be a tuple of ``QuantizedTensor`` or ``PeMatrix``,
#: one for each of the linear layers fused in it, whose leaves begin with the layer axis.
Params = dict[str, Any]

#: Alignment in bytes that XLA requires to use an array without a copy.
ALIGNMENT = 64


def aligned_empty(shape: tuple[int, ...]) -> Float32[np.ndarray, "..."]:
    """Return an uninitialised float32 array whose memory begins at a multiple of 64 bytes."""
    size = 4 * math.prod(shape)
    memory = np.empty(size + ALIGNMENT, np.uint8)
    offset = -memory.ctypes.data % ALIGNMENT
    return memory[offset : offset + size].view(np.float32).reshape(shape)


class ModelBuffers:
    """One float32 copy of a model's weights, filled tensor by tensor, again and again.

    :meth:`params` gives JAX arrays over these buffers: on a CPU the same memory, elsewhere a
    copy on the device. They are valid until the next :meth:`write`, so results of a computation
    must have arrived (``jax.block_until_ready``) before it.
    """

    def __init__(self, config: ModelConfig) -> None:
        self._shapes, self._slots = tensor_shapes(config), slots(config)
        self._missing = set(self._shapes)
        needed = buffer_shapes(config)
        size, memory = 4 * sum(map(math.prod, needed.values())), physical_memory_bytes()
        if memory is not None and size > memory:
            raise ValueError(
                f"the model's float32 weights need {size / 1e9:.1f} GB, "
                f"but this machine has {memory / 1e9:.1f} GB of memory"
            )
        self._buffers = {key: aligned_empty(shape) for key, shape in needed.items()}

    def write(self, name: str, matrix: np.ndarray) -> None:
        """Copy a canonical tensor to its place; it must have the shape of ``tensor_shapes``."""
        if name not in self._slots:
            raise ValueError(f"the model has no tensor {name!r}")
        if matrix.shape != self._shapes[name]:
            raise ValueError(
                f"tensor {name} has shape {matrix.shape}, expected {self._shapes[name]}"
            )
        slot = self._slots[name]
        buffer = self._buffers[slot.buffer]
        place = buffer if slot.layer is None else buffer[slot.layer]
        place[slot.row : slot.row + len(matrix)] = matrix
        self._missing.discard(name)

    def params(self) -> Params:
        """Return the parameters; refused while a tensor was never written."""
        if self._missing:
            name = min(self._missing)
            raise ValueError(f"{len(self._missing)} tensors were never written, such as {name}")
        stacked = {slot.buffer for slot in self._slots.values() if slot.layer is not None}
        arrays = {key: to_device(buffer) for key, buffer in self._buffers.items()}
        params: Params = {key: a for key, a in arrays.items() if key not in stacked}
        return params | {"layers": {key: arrays[key] for key in arrays if key in stacked}}


def physical_memory_bytes() -> int | None:
    """Return the size of the machine's memory, ``None`` if unknown."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def to_device(array: np.ndarray) -> jax.Array:
    """Return an aligned array for JAX: on a CPU without a copy, else on the default device."""
    is_cpu = jax.default_backend() == "cpu"
    result: jax.Array = jnp.from_dlpack(array) if is_cpu else jax.device_put(array)
    return result
