"""The full definition of a recipe's schemes, such as ``fp4_e2m1:g128:fp16`` for ``fp4``."""

from numerics import ElementScheme, Scheme
from sim.methods.chain import NEAREST, chain_text
from sim.names.gguf_mix import GgufMix
from sim.sweep.recipe import EXACT, Recipe, Rule

#: Start of the definition of a checkpoint.
CHECKPOINT = "checkpoint:"


def definition(recipe: Recipe) -> str:
    """Return the schemes of a recipe's layers, in full.

    Examples
    --------
    >>> from sim.sweep.recipe_file import make_recipe
    >>> definition(make_recipe("fp4"))
    'fp4_e2m1:g128:fp16'
    >>> definition(make_recipe("mxfp4", "int8", skip=("*.down_proj",)))
    '*.down_proj: float32; else weights fp4_e2m1:g32:e8m0, activations int8:token:fp32'
    """
    if recipe.checkpoint is not None:
        return f"{CHECKPOINT} {recipe.checkpoint.about}{_asked(recipe)}"
    if not recipe.rules:
        return "float32"
    *special, last = recipe.rules
    parts = [f"{rule.match}: {_rule(rule)}" for rule in special]
    is_rest = last.match in ("layers.*", "*")
    parts.append(
        (f"else {_rule(last)}" if special else _rule(last))
        if is_rest
        else f"{last.match}: {_rule(last)}"
    )
    products = {None: "", EXACT: "; exact dot products"}.get(recipe.pe, f"; sums of {recipe.pe}")
    return "; ".join(parts) + products


def _asked(recipe: Recipe) -> str:
    """Return the schemes of activations and cache that a checkpoint asks for."""
    schemes: dict[str, dict[str, None]] = {"activations": {}, "KV cache": {}}
    for rule in recipe.rules:
        for role, scheme in (("activations", rule.activations), ("KV cache", rule.kv)):
            if scheme is not None:
                schemes[role][scheme.name] = None
    texts = {role: list(names) for role, names in schemes.items() if names}
    return "".join(
        f"; {role} {names[0]}" + (f" and {len(names) - 1} like it" if names[1:] else "")
        for role, names in texts.items()
    )


def _rule(rule: Rule) -> str:
    roles = {"weights": rule.weights, "activations": rule.activations, "KV cache": rule.kv}
    given = {role: spelled(scheme) for role, scheme in roles.items() if scheme is not None}
    by = "" if rule.method == NEAREST else f" by {chain_text(rule.method)}"
    if list(given) == ["weights"]:
        return given["weights"] + by
    return (", ".join(f"{role} {text}" for role, text in given.items()) or "float32") + by


def spelled(scheme: Scheme | GgufMix) -> str:
    """Return element format, granularity and scale format of a scheme that has one of each.

    A mix of GGUF blocks is given by the block types of its matrices.

    Examples
    --------
    >>> from numerics import parse_scheme
    >>> spelled(parse_scheme("nvfp4")), spelled(parse_scheme("bitmod-fp4"))
    ('fp4_e2m1:g16:fp8_e4m3, one scale a tensor', 'bitmod-fp4')
    """
    if isinstance(scheme, GgufMix):
        return scheme.about
    if not isinstance(scheme, ElementScheme) or ":" in scheme.name:
        return scheme.name
    text = f"{scheme.element.name}:{scheme.granularity}:{scheme.scale_format.name}"
    if scheme.name.endswith(f"-{scheme.rule}"):
        text += f":{scheme.rule}"
    return text if scheme.second_level is None else f"{text}, one scale a {scheme.second_level}"
