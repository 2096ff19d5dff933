"""``qsim.json``: what a packed checkpoint holds.

A JSON object with ``format`` ("qsim-quantized"), ``version`` (2), ``model`` and ``source_sha256``
of the model it was made of, ``recipe`` (name), ``matrices`` (the scheme's text by layer name),
``repairs`` (optional; rank and schemes of the factors that are added to a matrix, by layer name),
``config`` (the fields of :class:`sim.model.config.ModelConfig`; ``online`` and ``yarn`` only where
the model has them) and ``bos_id`` (token before a text, ``null`` for none; a list of several).
"""

import dataclasses
import json
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numerics import Field, Scheme, parse_scheme
from sim.errors import UserError
from sim.model.config import ModelConfig
from sim.model.tensors import tensor_shapes
from sim.sources.files import read_json

#: Files of a packed checkpoint.
FILE_NAME, WEIGHTS, TOKENIZER = "qsim.json", "model.safetensors", "tokenizer.json"
FORMAT, VERSION = "qsim-quantized", 2
MAX_BYTES = 2**26
#: Names of the factors of a repair: ``NAME.weight.left.codes`` and so on.
LEFT, RIGHT = "left", "right"


@dataclass(frozen=True, slots=True)
class RepairFormat:
    """Low-rank factors that are added to a quantized matrix."""

    rank: int
    #: Scheme of the factor of shape (rank, out).
    left: Scheme
    #: Scheme of the factor of shape (rank, in).
    right: Scheme

    def factors(self, shape: tuple[int, ...]) -> dict[str, tuple[Scheme, tuple[int, int]]]:
        """Return scheme and shape of each factor of a matrix (out, in)."""
        rows, columns = shape
        return {LEFT: (self.left, (self.rank, rows)), RIGHT: (self.right, (self.rank, columns))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a packed checkpoint holds, and of what model."""

    model: str
    source_sha256: str
    recipe: str
    matrices: dict[str, Scheme]
    config: ModelConfig
    #: Tokens that the model expects before a text.
    prefix_ids: tuple[int, ...]
    repairs: dict[str, RepairFormat] = field(default_factory=dict)

    def arrays(self) -> dict[str, Field | None]:
        """Return the arrays of the weights' file: their layout, ``None`` for float tensors."""
        found: dict[str, Field | None] = {}
        for name, shape in tensor_shapes(self.config).items():
            layer = name.removesuffix(".weight")
            scheme = self.matrices.get(layer)
            if scheme is None:
                found[name] = None
                continue
            parts = {name: (scheme, shape)}
            if layer in self.repairs:
                factors = self.repairs[layer].factors(shape)
                parts |= {f"{name}.{part}": entry for part, entry in factors.items()}
            for part, (stored, size) in parts.items():
                try:
                    found |= {f"{part}.{entry.name}": entry for entry in stored.layout(size)}
                except ValueError as error:
                    raise ValueError(f"{part}: {error}") from None
        return found

    def to_json(self) -> str:
        """Return the text of ``qsim.json``."""
        config = dataclasses.asdict(self.config)
        if self.config.online is None:
            del config["online"]
        if self.config.rope is not None and self.config.rope.yarn is None:
            del config["rope"]["yarn"]
        fields: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "model": self.model,
            "source_sha256": self.source_sha256,
            "recipe": self.recipe,
            "matrices": {name: scheme.name for name, scheme in self.matrices.items()},
            "repairs": {
                name: {"rank": r.rank, LEFT: r.left.name, RIGHT: r.right.name}
                for name, r in self.repairs.items()
            },
            "config": config,
            "bos_id": _bos(self.prefix_ids),
        }
        return json.dumps(fields, indent=1) + "\n"


def read_description(directory: Path) -> Description:
    """Read ``qsim.json`` of a directory; refuse missing, unknown and mistyped fields."""
    path = directory / FILE_NAME
    fields = read_json(path, limit=MAX_BYTES)
    if fields.get("format") != FORMAT or fields.get("version") != VERSION:
        raise UserError(
            f"{path} is of format {fields.get('format')!r}, version {fields.get('version')!r}; "
            f"only {FORMAT!r}, version {VERSION} can be read"
        )
    try:
        return Description(
            model=_typed(fields["model"], str, "model"),
            source_sha256=_typed(fields["source_sha256"], str, "source_sha256"),
            recipe=_typed(fields["recipe"], str, "recipe"),
            matrices=_schemes(_typed(fields["matrices"], dict, "matrices")),
            config=_config(_typed(fields["config"], dict, "config")),
            prefix_ids=_prefix(fields["bos_id"]),
            repairs=_repairs(_typed(fields.get("repairs", {}), dict, "repairs")),
        )
    except KeyError as error:
        raise UserError(f"{path} lacks {error}") from None
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: {error}") from None


def _bos(ids: tuple[int, ...]) -> int | list[int] | None:
    """Return tokens before a text as ``bos_id`` has them."""
    if len(ids) > 1:
        return list(ids)
    return ids[0] if ids else None


def _prefix(value: object) -> tuple[int, ...]:
    """Return the tokens before a text that ``bos_id`` gives."""
    found = _typed(value, int | tuple[int, ...] | None, "bos_id")
    if found is None:
        return ()
    return found if isinstance(found, tuple) else (found,)


def _schemes(texts: dict[str, Any]) -> dict[str, Scheme]:
    return {name: parse_scheme(_typed(text, str, name)) for name, text in texts.items()}


def _repairs(entries: dict[str, Any]) -> dict[str, RepairFormat]:
    found = {}
    for name, entry in entries.items():
        fields = _typed(entry, dict, f"repair of {name}")
        left, right = (parse_scheme(_typed(fields[part], str, part)) for part in (LEFT, RIGHT))
        rank = _typed(fields["rank"], int, "rank")
        if rank < 1:
            raise ValueError(f"the repair of {name} has rank {rank}; it must be 1 or more")
        found[name] = RepairFormat(rank, left, right)
    return found


def _config(fields: dict[str, Any]) -> ModelConfig:
    config: ModelConfig = _build(ModelConfig, fields)
    return config


def _build(kind: type[Any], fields: dict[str, Any]) -> Any:
    """Make a dataclass of JSON values, each of the type that it is declared with."""
    declared = typing.get_type_hints(kind)
    unknown = sorted(set(fields) - set(declared))
    if unknown:
        raise ValueError(f"{kind.__name__} has no field {unknown[0]!r}")
    values = {name: _typed(value, declared[name], name) for name, value in fields.items()}
    needed = [f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING]
    if missing := sorted(set(needed) - set(fields)):
        raise ValueError(f"{kind.__name__} lacks {', '.join(missing)}")
    return kind(**values)


def _typed(value: Any, declared: Any, name: str) -> Any:
    """Return a JSON value as the declared type: lists become tuples, whole floats stay floats."""
    origin, arguments = typing.get_origin(declared), typing.get_args(declared)
    if origin in (typing.Union, types.UnionType):
        matching = [a for a in arguments if _fits(value, a)]
        if matching:
            return _typed(value, matching[0], name)
    elif _fits(value, declared):
        if isinstance(declared, type) and dataclasses.is_dataclass(declared):
            return _build(declared, value)
        if origin is tuple:
            return tuple(_typed(item, arguments[0], name) for item in value)
        return float(value) if declared is float else value
    raise ValueError(f"{name} is {value!r}, not {getattr(declared, '__name__', declared)}")


def _fits(value: Any, declared: Any) -> bool:
    origin = typing.get_origin(declared)
    if origin is typing.Literal:
        return value in typing.get_args(declared)
    if origin is tuple:
        return isinstance(value, list)
    if dataclasses.is_dataclass(declared):
        return isinstance(value, dict)
    if declared is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if declared is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, declared)
