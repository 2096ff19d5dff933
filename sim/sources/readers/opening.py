"""The quantized layers of a checkpoint, seen as ordinary tensors in storage types of their own."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from numerics.schemes.scheme import Scheme
from sim.errors import UserError
from sim.model.config import ModelConfig
from sim.model.hf_tensors import RawTensor, hf_recipe
from sim.model.tensors import linear_names, tensor_shapes
from sim.sources.hf_files import StoredTensor
from sim.sources.readers.grid import Grid
from sim.sources.readers.layer import Arrays, Layer, Stored, check_parts
from sim.sources.readers.layout import Layout
from sim.sources.readers.tensor_bytes import read_array

WEIGHT = ".weight"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLayer:
    """A quantized layer of a checkpoint, with its tensors by the name after the module's."""

    module: str
    layer: Layer
    shape: tuple[int, int]
    stored: Stored

    def arrays(self, names: Mapping[str, object]) -> Arrays:
        """Read those of the tensors ``names`` that the file has."""
        return {
            name: read_array(self.stored[name], f"{self.module}.{name}")
            for name in names
            if name in self.stored
        }

    def decode(self) -> Grid | Float32[np.ndarray, "out in"]:
        """Return the weight as it is decoded; raise UserError for contradicting tensors."""
        try:
            return self.layer.decode(self.arrays(self.layer.parts))
        except ValueError as error:
            raise UserError(f"{self.module} of {self.file}: {error}") from None

    @property
    def file(self) -> Path:
        """File of the first of the tensors."""
        return next(iter(self.stored.values())).file

    @property
    def bits(self) -> float:
        """Bits per weight of the tensors, as stored."""
        return self.layer.stored_bits(self.stored) / math.prod(self.shape)


@dataclass(frozen=True, kw_only=True)
class QuantizedTensors:
    """The quantized layers of a checkpoint, by the name of their weight."""

    layout: Layout
    config: ModelConfig
    layers: Mapping[str, StoredLayer]
    #: Tensors of the KV cache's quantization, by layer index.
    cache: Mapping[int, Stored]

    @cached_property
    def activations(self) -> dict[str, Scheme]:
        """Scheme of the inputs of each linear layer, by canonical name, where there is one."""
        found: dict[str, Scheme] = {}
        for name in linear_names(self.config):
            stored = _layer_of(self.config, name, self.layers)
            if stored is None or stored.layer.activations is None:
                continue
            try:
                scheme = stored.layer.activations(stored.arrays(stored.layer.others))
            except ValueError as error:
                raise UserError(f"inputs of {stored.module} in {stored.file}: {error}") from None
            if scheme is not None:
                found[name] = scheme
        return found

    @cached_property
    def kv(self) -> dict[int, Scheme]:
        """Scheme of the KV cache of each layer, where there is one."""
        found: dict[int, Scheme] = {}
        for index in range(self.config.layers):
            stored = self.cache.get(index, {})
            arrays = {name: read_array(tensor, name) for name, tensor in stored.items()}
            try:
                scheme = self.layout.cache_scheme(arrays)
            except ValueError as error:
                raise UserError(f"KV cache of layer {index}: {error}") from None
            if scheme is not None:
                found[index] = scheme
        return found

    def layer_of(self, name: str) -> StoredLayer | None:
        """Return the stored layer of a canonical tensor; ``None`` if it is not quantized."""
        return _layer_of(self.config, name.removesuffix(WEIGHT), self.layers)


def _layer_of(
    config: ModelConfig, name: str, layers: Mapping[str, StoredLayer]
) -> StoredLayer | None:
    names = hf_recipe(config, f"{name}{WEIGHT}").names
    return next((layers[raw] for raw in names if raw in layers), None)


def view(
    config: ModelConfig, layout: Layout, stored: Mapping[str, StoredTensor], path: Path
) -> tuple[dict[str, StoredTensor], QuantizedTensors]:
    """Return the tensors as those of a float checkpoint, and the quantized layers among them.

    A quantized layer becomes one tensor with its shape and the description of its format as type.
    Raises :class:`UserError` for missing and misshapen parts; what belongs to no layer stays.
    """
    if config.layers > len(stored):
        raise UserError(f"{path} has {len(stored)} tensors, too few for {config.layers} layers")
    by_module: dict[str, dict[str, StoredTensor]] = {}
    for name, tensor in stored.items():
        for module in _prefixes(name):
            by_module.setdefault(module, {})[name[len(module) + 1 :]] = tensor
    left = dict(stored)
    layers: dict[str, StoredLayer] = {}
    for recipe in _matrices(config):
        for weight in recipe.names:
            module = weight.removesuffix(WEIGHT)
            parts = by_module.get(module, {})
            rows, columns = recipe.shape[::-1] if recipe.transpose else recipe.shape
            try:
                layer = layout.layer(module, (rows, columns), parts)
                if layer is not None:
                    check_parts(layer, parts, module)
            except ValueError as error:
                raise UserError(f"{path}: {error}") from None
            if layer is None:
                continue
            used = {n: t for n, t in parts.items() if n in layer.parts or n in layer.others}
            for name in used:
                left.pop(f"{module}.{name}", None)
            if weight in left:
                raise UserError(f"{path} has {weight} beside the parts of {layer.about}, not both")
            layers[weight] = StoredLayer(
                module=module,
                layer=layer,
                shape=(rows, columns),
                stored=used,
            )
            left[weight] = StoredTensor(
                file=next(iter(used.values())).file, type=layer.about, shape=recipe.shape
            )
            break
    if not layers:
        raise UserError(
            f"{path} has the settings of {layout.title} and no quantized layer; its settings and "
            f"its tensors contradict each other"
        )
    cache: dict[int, dict[str, StoredTensor]] = {}
    for name in [name for name in left if layout.is_cache_tensor(name)]:
        index = _layer_index(name)
        if index is not None and index < config.layers:
            cache.setdefault(index, {})[name] = left.pop(name)
    tensors = QuantizedTensors(layout=layout, config=config, layers=layers, cache=cache)
    return left, tensors


def _matrices(config: ModelConfig) -> list[RawTensor]:
    """Return the stored matrices of a model, those of fused layers once."""
    recipes: dict[str, RawTensor] = {}
    for name, shape in tensor_shapes(config).items():
        if len(shape) == 2 and name.endswith(WEIGHT):
            recipe = hf_recipe(config, name)
            recipes.setdefault(recipe.name, recipe)
    return list(recipes.values())


def _prefixes(name: str) -> list[str]:
    """Return the modules that a tensor may belong to: names of parts have up to two dots.

    >>> _prefixes("a.b.weight.absmax")
    ['a.b.weight', 'a.b', 'a']
    """
    parts = name.split(".")
    return [".".join(parts[:-count]) for count in (1, 2, 3) if len(parts) > count]


def _layer_index(name: str) -> int | None:
    """Return the first number in a tensor's name."""
    return next((int(part) for part in name.split(".") if part.isdigit() and len(part) < 6), None)
