"""The config_groups of compressed-tensors: which layers have which numbers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numerics.formats import INTEGERS, Format
from numerics.formats import constants as c
from sim.sources.readers.settings import Settings

#: Formats whose name is that of all groups together.
MIXED = "mixed-precision"
_INTEGER_PRESET = re.compile(r"W(\d)A(\d+)(_ASYM)?")
_FP8_INPUTS = {"num_bits": 8, "type": "float", "strategy": "token", "dynamic": True}
_NVFP4 = {"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """How one kind of tensor is quantized."""

    bits: int
    kind: str
    symmetric: bool
    strategy: str
    group_size: int | None
    block: tuple[int, int] | None
    #: Whether scales are found at run time.
    dynamic: bool
    scale_type: str | None

    @classmethod
    def read(cls, raw: Any, context: str) -> "Arguments":
        """Read the arguments; raise ``ValueError`` for unknown ones."""
        if not isinstance(raw, Mapping):
            raise ValueError(f"{context} must be an object, not {type(raw).__name__}")
        reader = Settings(raw, context)
        bits, size = reader.integer("num_bits", default=8), reader.take("group_size")
        kind = reader.text("type", default="int")
        if kind not in ("int", "float") or bits > 8:
            raise ValueError(f"{context}: {bits}-bit {kind} is not supported; int and float are")
        default = "group" if isinstance(size, int) and size > 0 else "tensor"
        dynamic = reader.take("dynamic", default=False)
        if dynamic not in (True, False, "local"):
            raise reader.wrong("dynamic", dynamic, "must be true, false or local")
        scale = str(reader.take("scale_dtype", default=""))
        return cls(
            bits=bits,
            kind=kind,
            symmetric=reader.flag("symmetric", default=True),
            strategy=reader.text("strategy", default=default),
            group_size=size if isinstance(size, int) and 0 < size <= 2**24 else None,
            block=_block(reader.take("block_structure")),
            dynamic=dynamic is not False,
            scale_type="U8" if scale.endswith(("uint8", "e8m0fnu")) else None,
        )

    @property
    def about(self) -> str:
        """Short description for messages."""
        symmetry = "" if self.symmetric else "asymmetric "
        return f"{symmetry}{self.bits}-bit {self.kind} ({self.strategy})"

    @property
    def integer_bits(self) -> int:
        """Bits of integer codes; raise ``ValueError`` for floats and for one bit."""
        self.check_type("int")
        if self.bits < 2:
            raise ValueError(f"{self.about} weights are not supported; 2 to 8 bits are")
        return self.bits

    def check_type(self, kind: str) -> None:
        """Raise ``ValueError`` unless codes are of this kind."""
        if self.kind != kind:
            raise ValueError(f"the format needs weights of type {kind}, not {self.kind}")

    @property
    def element(self) -> Format | None:
        """Element format of the codes; ``None`` if there is no such format."""
        if self.kind == "int":
            return INTEGERS.get((self.bits, "full"))
        return {8: c.E4M3, 4: c.E2M1}.get(self.bits)


def _block(raw: Any) -> tuple[int, int] | None:
    """Return the block of ``[128, 128]`` or of ``"128x128"``."""
    if raw is None:
        return None
    parts = raw.split("x") if isinstance(raw, str) else raw
    if isinstance(parts, list) and len(parts) == 2:
        texts = [str(part) for part in parts]
        if all(text.isdigit() and 0 < int(text) <= 2**24 for text in texts):
            return int(texts[0]), int(texts[1])
    raise ValueError(f"block_structure must be two numbers, not {raw!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Layers that are quantized alike."""

    targets: tuple[str, ...]
    format: str
    weights: Arguments
    inputs: Arguments | None


def read_groups(reader: Settings) -> tuple[Group, ...]:
    """Return the groups of the settings."""
    groups = reader.object("config_groups")
    if not groups:
        raise ValueError(f"{reader.context}: config_groups is empty or missing")
    general = reader.text("format", default="")
    return tuple(_group(name, raw, general) for name, raw in groups.items())


def _group(name: str, raw: Any, general: str) -> Group:
    if isinstance(raw, list):
        raw = {"targets": raw, **_preset(name)}
    if not isinstance(raw, Mapping):
        raise ValueError(f"config_groups: {name} must be an object")
    reader = Settings(raw, f"config_groups, {name}")
    own = reader.text("format", default="")
    inputs = reader.take("input_activations")
    return Group(
        targets=reader.texts("targets"),
        format=own if general in (MIXED, "") else general,
        weights=Arguments.read(reader.object("weights"), f"{reader.context}, weights"),
        inputs=None if inputs is None else Arguments.read(inputs, f"{reader.context}, inputs"),
    )


def _preset(name: str) -> Mapping[str, Any]:
    """Return the arguments that the name of a preset scheme stands for."""
    upper = "W8A8" if name.upper() == "INT8" else name.upper()
    if found := _INTEGER_PRESET.fullmatch(upper):
        bits, inputs = int(found[1]), int(found[2])
        is_narrow = bits < 8
        weights = {
            "num_bits": bits,
            "symmetric": found[3] is None,
            "strategy": "group" if is_narrow else "channel",
            "group_size": 128 if is_narrow else None,
        }
        token = {"num_bits": inputs, "strategy": "token", "dynamic": True}
        return {"weights": weights, "input_activations": token if inputs < 16 else None}
    presets: dict[str, Mapping[str, Any]] = {
        "FP8": {
            "weights": {"num_bits": 8, "type": "float", "strategy": "tensor"},
            "input_activations": {"num_bits": 8, "type": "float", "strategy": "tensor"},
        },
        "FP8_DYNAMIC": {
            "weights": {"num_bits": 8, "type": "float", "strategy": "channel"},
            "input_activations": _FP8_INPUTS,
        },
        "FP8_BLOCK": {
            "weights": {"num_bits": 8, "type": "float", "strategy": "block"},
            "input_activations": {**_FP8_INPUTS, "strategy": "group", "group_size": 128},
        },
        "NVFP4A16": {"weights": _NVFP4},
        "NVFP4": {"weights": _NVFP4, "input_activations": {**_NVFP4, "dynamic": "local"}},
        "MXFP4A16": {
            "weights": {"num_bits": 4, "type": "float", "strategy": "group", "group_size": 32}
        },
    }
    if upper not in presets:
        raise ValueError(f"config_groups: the preset {name} is not supported")
    return presets[upper]
