"""Recipes and grids from a TOML file.

A file has any number of ``[[recipe]]`` tables, each with a ``name`` and either the fields of one
rule or ``[[recipe.rule]]`` tables, and of ``[[grid]]`` tables, whose lists are combined::

    [[recipe]]
    name = "mixed"
    [[recipe.rule]]
    match = "layers.*.mlp.down_proj"
    weights = "int8"
    [[recipe.rule]]
    match = "layers.*"
    weights = "fp4:g64"
    activations = "int8"

    [[grid]]
    weights = ["fp4", "int4"]
    group_size = [32, 128]
    kv = ["none", "int8"]

A rule's ``method`` names the steps that choose the codes, such as ``awq+gptq``, as ``--method``
does; without one, values are rounded to the nearest code. A recipe's ``pe`` names the processing
element that computes its dot products, as ``--pe`` does.
"""

import itertools
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from numerics import Scheme, parse_scheme
from numerics.names.text import short_name
from sim.errors import UserError, user_errors
from sim.methods.chain import NEAREST, Chain, chain_text, parse_chain
from sim.names.gguf_mix import GgufMix
from sim.names.meaning import FLOAT, OPERANDS, find_meaning
from sim.sources.text import decoded
from sim.sweep.recipe import EXACT, FLOAT32, Recipe, Rule, check_tokens

MAX_FILE_BYTES = 2**20
RULE_FIELDS = ("match", "weights", "activations", "kv", "method")
GRID_FIELDS = ("weights", "activations", "kv", "group_size", "method")
Role = Literal["weight", "activation", "kv"]
ROLE_NAMES = {"activation": "activations", "kv": "KV cache"}


def make_scheme(name: str | None, role: Role, group_size: int | None = None) -> Scheme | None:
    """Return the scheme of a name in a role; ``None`` for ``none`` and float32.

    >>> make_scheme("fp8", "activation") == make_scheme("fp8_e4m3", "activation")
    True
    """
    if name in FLOAT:
        return None
    name = OPERANDS.get(name, name)
    with user_errors(ValueError):
        scheme = parse_scheme(name, group_size=group_size, role=role)
    if role != "weight":
        check_tokens({ROLE_NAMES[role]: scheme})
    return scheme


def make_rule(
    weights: str | None,
    activations: str | None,
    kv: str | None,
    *,
    match: str | None = None,
    group_size: int | None = None,
    method: str | None = None,
) -> Rule:
    """Return the rule for names of formats; ``weights`` such as ``w4a8`` also set activations.

    A mix of GGUF blocks also quantizes the embeddings, so its rule matches all names.
    """
    meaning = find_meaning(weights, group_size=group_size)
    everything = "*" if isinstance(meaning.weights, GgufMix) else Rule().match
    return Rule(
        match=match or everything,
        weights=meaning.weights,
        activations=_one(meaning.activations, make_scheme(activations, "activation"), weights),
        kv=_one(meaning.kv, make_scheme(kv, "kv"), weights),
        method=make_method(method),
    )


def make_method(text: str | None) -> Chain:
    """Return the method that a text names; without one, rounding to nearest."""
    if text is None:
        return NEAREST
    with user_errors(ValueError):
        return parse_chain(text)


def _one(said: Scheme | None, given: Scheme | None, name: str | None) -> Scheme | None:
    """Return the scheme of a name or of an option; raise UserError if the two differ."""
    if said is not None and given is not None and said != given:
        raise UserError(
            f"{name} means {short_name(said)}, but {short_name(given)} is given as well; give "
            f"only the format of the weights, such as int4:g128 for w4a8"
        )
    return said or given


def make_recipe(
    weights: str | None,
    activations: str | None = None,
    kv: str | None = None,
    *,
    group_size: int | None = None,
    skip: Sequence[str] = (),
    pe: str | None = None,
    method: str | None = None,
) -> Recipe:
    """Return the recipe that quantizes every linear layer but the skipped ones in the same way."""
    rule = make_rule(weights, activations, kv, group_size=group_size, method=method)
    if rule.weights is None and (rule.activations, rule.kv) == (None, None):
        rule = replace(rule, method=NEAREST)
    if rule == Rule():
        return FLOAT32
    skips = tuple(Rule(match=pattern) for pattern in skip)
    name = recipe_name(
        weights if rule.weights else None,
        None if activations in FLOAT else activations,
        None if kv in FLOAT else kv,
        group_size=group_size,
    )
    suffix = "" if rule.method == NEAREST else f" {chain_text(rule.method)}"
    suffix += "".join(f" skip={pattern}" for pattern in skip) + _pe_suffix(pe)
    return Recipe(name=name + suffix, rules=(*skips, rule), pe=pe)


def _pe_suffix(pe: str | None) -> str:
    if pe is None:
        return ""
    return " bit-true" if pe == EXACT else f" pe={pe}"


def recipe_name(
    weights: str | None, activations: str | None, kv: str | None, *, group_size: int | None
) -> str:
    """Return a name from the quantized parts, such as ``fp4:g64`` or ``w=fp4,a=int8``."""
    if weights and group_size:
        weights = f"{weights}:g{group_size}"
    if weights and not activations and not kv:
        return weights
    parts = {"w": weights, "a": activations, "kv": kv}
    return ",".join(f"{key}={value}" for key, value in parts.items() if value)


def read_recipes(path: Path, *, skip: Sequence[str] = (), pe: str | None = None) -> list[Recipe]:
    """Return the recipes of a TOML file; for a layer, the first rule that matches applies."""
    tables = _read_toml(path)
    unknown = set(tables) - {"recipe", "grid"}
    if unknown or not tables:
        raise UserError(
            f"{path} has {_quoted(unknown) or 'no tables'}; "
            f"a recipe file has [[recipe]] and [[grid]] tables"
        )
    recipes = [_recipe(t, path, skip, pe) for t in _tables(tables, "recipe", path)]
    for table in _tables(tables, "grid", path):
        recipes.extend(_grid(table, path, skip, pe))
    return recipes


def _read_toml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"no recipe file at {path}; it is a TOML file with [[recipe]] tables")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise UserError(f"{path} is larger than {MAX_FILE_BYTES} bytes; recipe files are small")
    content = decoded(path.read_bytes(), path)
    try:
        return tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not a TOML file: {error}") from None


def _tables(raw: Mapping[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    tables = raw.get(key, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise UserError(f"{path}: '{key}' must be [[{key}]] tables")
    return tables


def _recipe(table: dict[str, Any], path: Path, skip: Sequence[str], pe: str | None) -> Recipe:
    name = table.get("name")
    if not isinstance(name, str) or not name or name == FLOAT32.name:
        raise UserError(f"{path}: each [[recipe]] needs a name, and not '{FLOAT32.name}'")
    fields = {key: value for key, value in table.items() if key not in ("name", "rule", "pe")}
    if not isinstance(table.get("pe", ""), str):
        raise UserError(f"{path}: pe of recipe {name} must be a string, not {_toml(table['pe'])}")
    rules = _tables(table, "rule", path) if "rule" in table else [fields]
    if "rule" in table and fields:
        raise UserError(f"{path}: recipe {name} has {_quoted(fields)} in addition to its rules")
    skips = tuple(Rule(match=pattern) for pattern in skip)
    return Recipe(
        name=name,
        rules=(*skips, *(_rule(rule, name, path) for rule in rules)),
        pe=table.get("pe", pe),
    )


def _rule(table: dict[str, Any], recipe: str, path: Path) -> Rule:
    unknown = set(table) - set(RULE_FIELDS)
    if unknown:
        raise UserError(
            f"{path}: recipe {recipe} has {_quoted(unknown)}; a rule has {_quoted(RULE_FIELDS)}"
        )
    for key, value in table.items():
        if not isinstance(value, str):
            lists = "; a [[grid]] combines lists" if isinstance(value, list) else ""
            raise UserError(
                f"{path}: {key} of recipe {recipe} must be a string, not {_toml(value)}{lists}"
            )
    return make_rule(
        table.get("weights"),
        table.get("activations"),
        table.get("kv"),
        match=table.get("match"),
        method=table.get("method"),
    )


def _grid(
    table: dict[str, Any], path: Path, skip: Sequence[str], pe: str | None
) -> Iterator[Recipe]:
    unknown = set(table) - set(GRID_FIELDS)
    if unknown:
        raise UserError(f"{path}: a grid has {_quoted(GRID_FIELDS)}, not {_quoted(unknown)}")
    axes = [_axis(table, key, path) for key in GRID_FIELDS]
    for weights, activations, kv, group_size, method in itertools.product(*axes):
        yield make_recipe(
            weights, activations, kv, group_size=group_size, method=method, skip=skip, pe=pe
        )


def _axis(table: dict[str, Any], key: str, path: Path) -> list[Any]:
    values = table.get(key, [None])
    kind = int if key == "group_size" else str
    is_list = isinstance(values, list) and len(values) > 0
    if not is_list or not all(value is None or type(value) is kind for value in values):
        raise UserError(
            f"{path}: {key} of a grid must be a list of "
            f"{'numbers' if kind is int else 'strings'}, as in {key} = "
            f"{_toml([16, 32] if kind is int else ['int8', 'fp4'])}"
        )
    return list(values)


def _toml(value: object) -> str:
    """Return a value as TOML text; strings, numbers and lists are written as in JSON."""
    return json.dumps(value, default=str)


def _quoted(names: object) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names))  # type: ignore[call-overload]
