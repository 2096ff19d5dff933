"""Recipes: which scheme for weights, activations and KV cache of which layers."""

import fnmatch
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from numerics import Scheme, grouped_dot, quantize
from numerics.gguf.scheme import GgufScheme
from numerics.names.suggest import unknown
from numerics.pe.rounding import check_pe
from rtl.catalog import PES, ROUNDING
from sim.errors import UserError, user_errors
from sim.methods.assignment import Assignment
from sim.methods.chain import NEAREST, Chain, chain_text
from sim.methods.step import BlockTransform, ModelTransform
from sim.model.config import ModelConfig
from sim.model.layer_numerics import LayerNumerics
from sim.model.tensors import EMBED_TOKENS, LM_HEAD, fused_members, linear_names, tensor_shapes
from sim.names.gguf_mix import GgufMix
from sim.sweep.options import EXACT as EXACT


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Schemes for the layers whose name matches the shell pattern ``match``; ``None`` is float32.

    Names are those of the linear layers, such as ``layers.3.mlp.down_proj``, the two embeddings
    ``embed_tokens`` and ``lm_head``, and for the cache of a layer ``layers.3.self_attn.kv_cache``.
    """

    match: str = "layers.*"
    weights: Scheme | GgufMix | None = None
    activations: Scheme | None = None
    kv: Scheme | None = None
    #: How the codes of the linear layers are chosen.
    method: Chain = NEAREST


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointWeights:
    """The weights of a checkpoint: their content, and what they are in a few words."""

    sha256: str
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Rules for layers: the first rule that matches applies; other layers stay in float32."""

    name: str
    rules: tuple[Rule, ...]
    #: Processing element that computes the linear layers' dot products: :data:`EXACT`, a name of
    #: :data:`rtl.catalog.ROUNDING`, or ``None`` for float32 dot products of dequantized values.
    pe: str | None = None
    #: Checkpoint whose weights take the place of the model's; ``None`` for the model's own.
    checkpoint: CheckpointWeights | None = None

    def rule_for(self, name: str) -> Rule:
        """Return the rule for the layer ``name``; without a match, one that keeps it in float32."""
        return next((r for r in self.rules if fnmatch.fnmatchcase(name, r.match)), Rule())

    def canonical(self) -> str:
        """Return a text that is equal for two recipes if and only if they compute the same."""
        rows = [
            [
                rule.match,
                *(s and s.name for s in (rule.weights, rule.activations, rule.kv)),
                *([] if rule.method == NEAREST else [chain_text(rule.method)]),
            ]
            for rule in self.rules
        ]
        weights = [] if self.checkpoint is None else [self.checkpoint.sha256]
        return json.dumps([rows, {None: False, EXACT: True}.get(self.pe, self.pe), *weights])


FLOAT32 = Recipe(name="float32", rules=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Assignment):
    """A recipe resolved for one model."""

    recipe: Recipe


def plan(recipe: Recipe, config: ModelConfig) -> Plan:
    """Resolve ``recipe`` for a model; raise :class:`UserError` if it does not suit the model."""
    transforms = _model_transforms(recipe, config)
    for transform in transforms:
        with user_errors(ValueError):
            config = transform.transformed(config)
    linear = linear_names(config)
    caches = tuple(f"layers.{i}.self_attn.kv_cache" for i in range(config.layers))
    names = (*linear, *embedding_names(config))
    _check_matches(recipe, (*names, *caches))
    weights = _weights(recipe, names, config)
    inputs = {n: s for n in linear if (s := recipe.rule_for(n).activations) is not None}
    cached = {n: s for n in caches if (s := recipe.rule_for(n).kv) is not None}
    shapes = tensor_shapes(config)
    rows = {n: shapes[f"{n}.weight"][-1] for n in names} | dict.fromkeys(caches, config.head_dim)
    check_tokens(inputs | cached)
    for schemes in (weights, inputs, cached):
        _check_rows(schemes, rows)
    if recipe.pe == EXACT:
        _check_bit_true(recipe, weights, inputs, rows)
    elif recipe.pe is not None:
        _check_rounding(recipe, weights, inputs, rows)
    layers = tuple(_layer_numerics(recipe, config, i, inputs, cached) for i in range(config.layers))
    methods = _methods(recipe, linear, weights, config)
    return Plan(
        recipe=recipe,
        config=config,
        weights=weights,
        numerics=layers if inputs or cached else None,
        methods=methods,
        transforms=transforms,
        block_transforms=_block_transforms(recipe, config, weights, methods, layers),
    )


def _model_transforms(recipe: Recipe, config: ModelConfig) -> tuple[ModelTransform, ...]:
    """Return the transforms of the whole model, which every rule must name alike."""
    found: dict[tuple[ModelTransform, ...], Rule] = {}
    for name in linear_names(config):
        rule = recipe.rule_for(name)
        if rule.weights is not None or rule.method.model:
            found.setdefault(rule.method.model, rule)
    if len(found) > 1:
        one, other = list(found.values())[:2]
        raise UserError(
            f"recipe {recipe.name}: '{one.match}' has the method {chain_text(one.method)} and "
            f"'{other.match}' has {chain_text(other.method)}; a transform of the model changes "
            f"every layer, so give all rules the same"
        )
    return next(iter(found), ())


def _block_transforms(
    recipe: Recipe,
    config: ModelConfig,
    weights: Mapping[str, Scheme],
    methods: Mapping[str, Chain],
    numerics: Sequence[LayerNumerics],
) -> dict[tuple[int, str], tuple[BlockTransform, ...]]:
    """Return the transforms of each site, which the layers that read it must name alike."""
    found: dict[tuple[int, str], tuple[BlockTransform, ...]] = {}
    for index in range(config.layers):
        for site, members in fused_members(config).items():
            names = [n for m in members if (n := f"layers.{index}.{m}") in weights]
            named = {methods.get(name, NEAREST).block for name in names}
            if len(named) > 1:
                raise UserError(
                    f"recipe {recipe.name}: {', '.join(names)} read the same input; "
                    f"give them the same transforms"
                )
            if transforms := next(iter(named), ()):
                found[index, site] = transforms
        with user_errors(ValueError):
            for transform in {t: None for (i, _), ts in found.items() if i == index for t in ts}:
                transform.check(config, numerics[index])
    return found


def _weights(recipe: Recipe, names: Sequence[str], config: ModelConfig) -> dict[str, Scheme]:
    """Return the scheme of each matrix that is quantized; a mix of GGUF blocks has several."""
    found: dict[str, Scheme] = {}
    mixes: dict[GgufMix, Mapping[str, Scheme]] = {}
    for name in names:
        weights = recipe.rule_for(name).weights
        if isinstance(weights, GgufMix):
            if weights not in mixes:
                mixes[weights] = weights.schemes(config)
            weights = mixes[weights].get(name)
        if weights is not None:
            found[name] = weights
    return found


def _methods(
    recipe: Recipe, linear: Sequence[str], weights: Mapping[str, Scheme], config: ModelConfig
) -> dict[str, Chain]:
    """Return the method of each quantized linear layer; raise UserError for unsupported schemes."""
    chains = {name: recipe.rule_for(name).method for name in linear if name in weights}
    methods = {name: chain for name, chain in chains.items() if chain != NEAREST}
    _check_unused(recipe, linear, weights, config)
    shapes = tensor_shapes(config)
    for name, chain in methods.items():
        with user_errors(ValueError):
            chain.check(weights[name], shapes[f"{name}.weight"])
    return methods


def _check_unused(
    recipe: Recipe, linear: Sequence[str], weights: Mapping[str, Scheme], config: ModelConfig
) -> None:
    """Raise UserError for a rule whose method would choose no codes."""
    for rule in recipe.rules:
        names = (*linear, *embedding_names(config))
        ruled = [name for name in names if recipe.rule_for(name) == rule]
        is_read = rule.method.model or any(name in linear and name in weights for name in ruled)
        if rule.method != NEAREST and ruled and not is_read:
            raise UserError(
                f"recipe {recipe.name}: '{rule.match}' has the method {chain_text(rule.method)} "
                f"and no linear layer with a format of weights; leave the method out"
            )


def embedding_names(config: ModelConfig) -> tuple[str, ...]:
    """Return the names of the embedding matrices that the model has."""
    return (EMBED_TOKENS,) if config.tie_embeddings else (EMBED_TOKENS, LM_HEAD)


def _check_matches(recipe: Recipe, names: Sequence[str]) -> None:
    for rule in recipe.rules:
        if not fnmatch.filter(names, rule.match):
            raise UserError(
                f"pattern '{rule.match}' of recipe {recipe.name} matches no layer of the model; "
                f"names look like '{names[0]}' and '{names[-1]}'"
            )


def _check_rows(schemes: Mapping[str, Scheme], rows: Mapping[str, int]) -> None:
    """Raise UserError for groups longer than the rows."""
    short: dict[int, list[str]] = {}
    for name, scheme in schemes.items():
        is_free = scheme.group_size is not None and not isinstance(scheme, GgufScheme)
        if is_free and (scheme.group_size or 0) > rows[name]:
            short.setdefault(rows[name], []).append(name)
    if short:
        names_of_short = {name for names in short.values() for name in names}
        given = {s.group_size for n, s in schemes.items() if n in names_of_short}
        places = "; ".join(
            f"{row} values in {names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}"
            for row, names in sorted(short.items())
        )
        raise UserError(
            f"group size {max(filter(None, given))} is larger than a row: {places}; "
            f"use --group-size {min(short)} or less, or one scale per channel (FORMAT:channel)"
        )
    refused: dict[str, ValueError] = {}
    for name, scheme in schemes.items():
        try:
            scheme.check_shape((1, rows[name]))
        except ValueError as error:
            refused[name] = error
    if refused:
        raise UserError(_left_out(refused))


def _left_out(refused: Mapping[str, ValueError]) -> str:
    """Return a message with the layers that a scheme cannot store, and the options to skip them."""
    name, error = next(iter(refused.items()))
    more = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
    patterns = dict.fromkeys(f"*.{layer.rpartition('.')[2]}" for layer in refused)
    options = " ".join(f"--skip '{pattern}'" for pattern in patterns)
    return f"{name}{more}: {error}; {options} leaves {'them' if more else 'it'} out"


def check_tokens(schemes: Mapping[str, Scheme]) -> None:
    """Raise UserError for schemes of activations or cache in which tokens depend on later ones.

    The keys of ``schemes`` name the layers or the options, for messages.
    """
    for name, scheme in schemes.items():
        if scheme.mixes_rows:
            raise UserError(
                f"{name}: {scheme.name} has statistics over all tokens, so a token would depend "
                f"on later ones; for activations and cache use {' or '.join(scheme.alternatives)}"
            )


def _check_bit_true(
    recipe: Recipe,
    weights: Mapping[str, Scheme],
    inputs: Mapping[str, Scheme],
    rows: Mapping[str, int],
) -> None:
    """Raise UserError if bit-true dot products are undefined: float inputs, no common grid."""
    for name in weights:
        if name not in inputs:
            raise UserError(
                f"recipe {recipe.name} leaves the inputs of {name} in float32; bit-true dot "
                f"products need them quantized, as with --activations int8"
            )
    needed = {(scheme, inputs[name], rows[name]) for name, scheme in weights.items()}
    for weight, activation, row in sorted(needed, key=str):
        example = jax.eval_shape(partial(jnp.zeros, (1, row), jnp.float32))
        try:
            jax.eval_shape(partial(_product, weight=weight, activation=activation), example)
        except ValueError as error:
            raise UserError(f"recipe {recipe.name}: {error}") from None


def _check_rounding(
    recipe: Recipe,
    weights: Mapping[str, Scheme],
    inputs: Mapping[str, Scheme],
    rows: Mapping[str, int],
) -> None:
    """Raise UserError for an unknown PE, and for weights that the PE cannot read."""
    pe = ROUNDING.get(recipe.pe or "")
    if pe is None:
        raise UserError(_why_no_product(recipe.pe or ""))
    for name in inputs:
        raise UserError(
            f"recipe {recipe.name} quantizes the inputs of {name}; the PE rounds them to FP16 "
            f"itself, so leave --activations out"
        )
    for name, scheme in weights.items():
        try:
            check_pe(scheme, pe, rows[name])
        except ValueError as error:
            raise UserError(f"recipe {recipe.name}: {error}") from None


def _why_no_product(name: str) -> str:
    """Return why a PE is not simulated in sweeps, and an alternative."""
    if name in PES:
        rounding = ", ".join(ROUNDING)
        return f"{name} {PES[name].nearest_sweep}; PEs whose sums round: {rounding}"
    return unknown("PE", name, PES, see="qsim rtl")


def _product(x: Array, *, weight: Scheme, activation: Scheme) -> Array:
    return grouped_dot(quantize(x, activation), quantize(x, weight))


def _layer_numerics(
    recipe: Recipe,
    config: ModelConfig,
    index: int,
    inputs: Mapping[str, Scheme],
    cached: Mapping[str, Scheme],
) -> LayerNumerics:
    shared: dict[str, Scheme | None] = {}
    for buffer, members in fused_members(config).items():
        names = [f"layers.{index}.{member}" for member in members]
        schemes = {inputs.get(name) for name in names}
        if len(schemes) > 1:
            raise UserError(
                f"recipe {recipe.name}: {', '.join(names)} read the same input; "
                f"give them one activation format"
            )
        shared[buffer] = next(iter(schemes))
    return LayerNumerics(**shared, kv=cached.get(f"layers.{index}.self_attn.kv_cache"))
