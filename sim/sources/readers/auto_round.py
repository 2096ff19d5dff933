"""AutoRound checkpoints: the layouts of GPTQ, AWQ and compressed-tensors under other settings.

Source: auto-round 0.16.1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sim.sources.readers import awq, compressed_tensors
from sim.sources.readers.gptq import Numbers, packed_layer, read_numbers
from sim.sources.readers.layer import Layer, Stored
from sim.sources.readers.layout import FloatCache, Layout
from sim.sources.readers.settings import Settings

DEFAULT = "auto_round:auto_gptq"
#: What a stored zero point lacks, by the packing of GPTQ's layout.
ZERO_OFFSETS = {
    DEFAULT: 1,
    "auto_gptq": 1,
    "auto_round": 0,
    "auto_round:gptqmodel": 0,
    "auto_round:auto_gptq_nozp": 0,
}
AWQ = ("auto_round:auto_awq", "auto_awq")


@dataclass(frozen=True, kw_only=True)
class AutoRound(FloatCache):
    """The settings of a checkpoint; see :class:`sim.sources.readers.layout.Layout`."""

    title: str
    numbers: Numbers
    own: tuple[tuple[str, Numbers], ...]
    #: What a stored zero point lacks; ``None`` for the layout of AWQ.
    zero_offset: int | None

    def layer(self, module: str, shape: tuple[int, int], stored: Stored) -> Layer | None:
        """Return how a matrix is stored; ``None`` if it is in floating point."""
        if "qweight" not in stored:
            return None
        numbers = dict(self.own).get(module, self.numbers)
        if self.zero_offset is None:
            # This layout has zero points in symmetric layers too.
            return awq.gemm_layer(replace(numbers, symmetric=False), shape, stored)
        return packed_layer(numbers, shape, stored, self.zero_offset)


def open_layout(settings: Mapping[str, Any], metadata: Mapping[str, str]) -> Layout:
    """Read the settings; raise ``ValueError`` for unknown ones."""
    reader = Settings(settings, "AutoRound settings")
    packing = reader.text("packing_format", default=DEFAULT)
    if packing.endswith("llm_compressor"):
        return compressed_tensors.open_layout(settings, metadata)
    if packing not in ZERO_OFFSETS and packing not in AWQ:
        known = ", ".join((*ZERO_OFFSETS, *AWQ))
        raise reader.wrong("packing_format", packing, f"must be one of {known}")
    numbers = read_numbers(reader)
    own = tuple(
        (name, read_numbers(Settings(given, f"{reader.context}, {name}"), numbers))
        for name, given in reader.object("extra_config").items()
        if isinstance(given, Mapping)
    )
    version = reader.text("autoround_version", default="")
    return AutoRound(
        title=f"AutoRound {version}".strip(),
        numbers=numbers,
        own=own,
        zero_offset=ZERO_OFFSETS.get(packing),
    )
