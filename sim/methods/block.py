"""One block of a model on its way through a method."""

from collections.abc import Mapping
from dataclasses import dataclass

from numerics import Scheme
from sim.calibration.statistics import Statistics
from sim.model.config import ModelConfig
from sim.model.layer_numerics import LayerNumerics
from sim.sources.source import Tensor


@dataclass(slots=True, kw_only=True)
class Block:
    """Float weights of a block, and what its linear layers read.

    A transform replaces or changes ``tensors`` such that the block's float outputs stay equal, and
    ``statistics`` to those of the changed inputs.
    """

    config: ModelConfig
    index: int
    #: Tensors by canonical name after ``layers.{index}.``, such as ``self_attn.q_proj.weight``.
    tensors: dict[str, Tensor]
    #: Statistics by site: ``qkv``, ``o``, ``gate_up`` and ``down``.
    statistics: dict[str, Statistics]
    #: Scheme of each linear layer that the transform belongs to, such as ``self_attn.q_proj``.
    schemes: Mapping[str, Scheme]
    #: How the recipe rounds the inputs of each site.
    activations: LayerNumerics
    #: Sites that may be transformed.
    sites: frozenset[str]
