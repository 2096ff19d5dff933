"""Make the golden logits of the model families: ``python make_goldens.py [CASE ...]``.

``python make_goldens.py yarn`` makes the rotary frequencies of YaRN, ``yarn.json``.

Needs torch and transformers (the ``goldens`` extra). Each case is a small random model of one
architecture, saved as transformers saves it, with the logits of its own eager float32 forward
pass and, where it has them, the rotary frequencies it used. Sizes are odd on purpose, biases are
not zero and norm weights not one, so that a part left out shows. ``versions.json`` says what made
the files.
"""

import dataclasses
import hashlib
import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.numpy import save_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

HERE = Path(__file__).parent
VOCAB, TOKENS = 97, 24
#: How code reads a field: ``config.name``, ``getattr(config, "name"`` or ``hasattr``.
READ = re.compile(r"""config(?:\.|, ")([a-z_]\w*)(?![\w(])""")


@dataclass(frozen=True)
class Case:
    """One model: its ``model_type`` and the fields that differ from :data:`COMMON`."""

    family: str
    fields: dict[str, Any] = field(default_factory=dict)


COMMON = {
    "vocab_size": VOCAB,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}
LLAMA_ONLY = ("num_key_value_heads", "intermediate_size")
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 3.0,
    "original_max_position_embeddings": 32,
}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 1000.0,
    "short_factor": [1.0, 1.25, 1.5, 2.0],
    "long_factor": [1.5, 2.5, 3.5, 4.5],
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 40.0,
    "factor": 4.0,
    "original_max_position_embeddings": 48,
}

CASES = {
    "llama": Case("llama", {"rms_norm_eps": 1e-3}),
    "llama-llama3-tied": Case("llama", {"rope_parameters": LLAMA3, "tie_word_embeddings": True}),
    "llama-linear-biases": Case(
        "llama",
        {
            "rope_parameters": {"rope_type": "linear", "rope_theta": 300.0, "factor": 2.5},
            "attention_bias": True,
            "mlp_bias": True,
        },
    ),
    "llama-yarn": Case("llama", {"rope_parameters": YARN, "head_dim": 16}),
    "mistral": Case("mistral", {"sliding_window": 7, "head_dim": 12}),
    "qwen2": Case("qwen2", {"tie_word_embeddings": True}),
    "qwen2-window": Case(
        "qwen2",
        {
            "num_hidden_layers": 3,
            "use_sliding_window": True,
            "sliding_window": 5,
            "max_window_layers": 1,
        },
    ),
    "qwen3": Case("qwen3", {"head_dim": 12, "rms_norm_eps": 1e-2}),
    "phi3": Case("phi3", {"sliding_window": 9}),
    "phi3-longrope-short": Case(
        "phi3", {"rope_parameters": LONGROPE, "original_max_position_embeddings": TOKENS}
    ),
    "phi3-longrope-long": Case(
        "phi3",
        {
            "rope_parameters": {**LONGROPE, "partial_rotary_factor": 1.0},
            "original_max_position_embeddings": TOKENS - 1,
        },
    ),
    "gemma2": Case(
        "gemma2",
        {
            "num_hidden_layers": 3,
            "head_dim": 12,
            "sliding_window": 6,
            "query_pre_attn_scalar": 5,
            "attn_logit_softcapping": 3.0,
            "final_logit_softcapping": 4.0,
        },
    ),
    "opt": Case("opt", {"ffn_dim": 80}),
    "opt-post-norm": Case(
        "opt",
        {
            "ffn_dim": 80,
            "do_layer_norm_before": False,
            "enable_bias": False,
            "tie_word_embeddings": False,
        },
    ),
    "gpt2": Case("gpt2", {"n_inner": 80}),
    "phi": Case("phi", {"rope_parameters": {"rope_theta": 10000.0, "partial_rotary_factor": 0.5}}),
}


def randomize(model: torch.nn.Module, generator: torch.Generator) -> None:
    """Fill in random weights: matrices keep the size of vectors, norms are near the identity."""
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim == 2:
            is_table = any(part in name for part in ("embed", "wte", "wpe"))
            fan_in = parameter.shape[0 if ".c_" in name else 1]  # GPT-2 stores (in, out)
            value = noise if is_table else 1.5 * noise / fan_in**0.5
        elif name.endswith("bias"):
            value = 0.3 * noise
        else:
            value = parameter.data.float() + 0.3 * noise  # initial norm weights are the identity
        parameter.data = value.to(parameter.dtype)


def make(name: str, case: Case) -> dict[str, Any]:
    """Write one case and return what is to be recorded of it."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    generator = torch.Generator().manual_seed(seed)
    fields = COMMON | case.fields
    if case.family in ("opt", "gpt2"):
        fields = {k: v for k, v in fields.items() if k not in LLAMA_ONLY}
    config = AutoConfig.for_model(case.family, **fields)
    model = AutoModelForCausalLM.from_config(
        config, attn_implementation="eager", dtype=torch.float32
    ).eval()
    randomize(model, generator)
    tokens = torch.randint(VOCAB, (TOKENS,), generator=generator)
    with torch.no_grad():
        logits = model(tokens[None]).logits[0]
    folder = HERE / name
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    golden = {"tokens": tokens.to(torch.int32).numpy(), "logits": logits.numpy()}
    rotary = getattr(model.base_model, "rotary_emb", None)
    if rotary is not None:  # after the forward pass, which may have switched to other factors
        golden["inverse_frequencies"] = rotary.inv_freq.numpy()
    save_file(golden, folder / "golden.safetensors")
    return {"seed": seed, "logit_deviation": round(float(logits.std()), 3)}


#: Sources of transformers whose code every family runs.
SHARED = ("configuration_utils.py", "masking_utils.py", "modeling_rope_utils.py")


def read_fields(family: str) -> dict[str, list[str]]:
    """Return the fields of a family's configuration class, and those that its model reads."""
    kind = type(AutoConfig.for_model(family))
    root = Path(transformers.__file__).parent
    model = (root / "models" / family / f"modeling_{family}.py").read_text()
    base = {f.name for f in dataclasses.fields(transformers.PreTrainedConfig)}
    return {
        "own": sorted({f.name for f in dataclasses.fields(kind)} - base),
        "aliases": sorted(kind.attribute_map),
        "read": sorted(set(READ.findall(model))),
    }


def write_fields() -> None:
    """Write ``fields.json``: what each family reads of ``config.json``."""
    root = Path(transformers.__file__).parent
    fields: dict[str, Any] = {case.family: read_fields(case.family) for case in CASES.values()}
    shared = "\n".join((root / name).read_text() for name in SHARED)
    fields["shared"] = sorted(set(READ.findall(shared)))
    fields["transformers"] = transformers.__version__
    (HERE / "fields.json").write_text(json.dumps(fields, indent=1) + "\n")


#: Fields of a Llama configuration, and parameters of YaRN, that differ from :data:`YARN_FIELDS`
#: and :data:`YARN`.
YARN_CASES: list[tuple[Any, Any]] = [
    ({}, {}),
    ({"head_dim": 64, "max_position_embeddings": 131072}, {"original_max_position_embeddings": 32}),
    ({"head_dim": 128, "max_position_embeddings": 32768}, {"rope_theta": 1e6, "factor": 4.0}),
    ({}, {"factor": 1.0}),
    ({}, {"factor": 0.5}),
    ({"max_position_embeddings": 480}, {"factor": None}),
    ({}, {"attention_factor": 1.25}),
    ({}, {"beta_fast": 6.5, "beta_slow": 0.7}),
    ({}, {"truncate": False}),
    ({}, {"truncate": False, "beta_fast": 4.0, "beta_slow": 4.0}),
    ({}, {"mscale": 0.5, "mscale_all_dim": 2.0}),
    ({}, {"mscale": 1.0, "mscale_all_dim": 0.0}),
    ({}, {"mscale": 0.707}),
    ({"original_max_position_embeddings": 32}, {"original_max_position_embeddings": None}),
    ({"max_position_embeddings": 48}, {"original_max_position_embeddings": None}),
]
YARN_FIELDS = {"head_dim": 32, "max_position_embeddings": 192}


def write_yarn() -> None:
    """Write ``yarn.json``: configurations, and what transformers computes of them."""
    cases = []
    for fields, changes in YARN_CASES:
        rope = {n: v for n, v in (YARN | changes).items() if v is not None or n == "factor"}
        raw = COMMON | YARN_FIELDS | fields | {"rope_parameters": rope}
        config = AutoConfig.for_model("llama", **json.loads(json.dumps(raw)))
        frequencies, factor = ROPE_INIT_FUNCTIONS["yarn"](config, torch.device("cpu"))
        result = {"inverse_frequencies": frequencies.tolist(), "attention_factor": factor}
        cases.append({"config": {"model_type": "llama"} | raw, **result})
    record = {"transformers": transformers.__version__, "cases": cases}
    (HERE / "yarn.json").write_text(json.dumps(record, indent=1) + "\n")


def main() -> None:
    """Make the cases named on the command line, or all; ``fields`` and ``yarn`` make the others."""
    if sys.argv[1:] in (["fields"], ["yarn"]):
        {"fields": write_fields, "yarn": write_yarn}[sys.argv[1]]()
        return
    torch.set_num_threads(1)
    path = HERE / "versions.json"
    record = json.loads(path.read_text()) if path.exists() else {"cases": {}}
    record["versions"] = {"torch": torch.__version__, "transformers": transformers.__version__}
    for name in sys.argv[1:] or CASES:
        record["cases"][name] = make(name, CASES[name])
        print(name, record["cases"][name])
    path.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
