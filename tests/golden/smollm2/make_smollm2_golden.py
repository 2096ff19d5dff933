"""Make the golden values of SmolLM2-135M-Instruct with transformers.

``python make_smollm2_golden.py --gguf SmolLM2-135M-Instruct.Q4_1.gguf --text wikitext2.txt``

Needs torch, transformers, gguf and tokenizers. The weights are dequantised to float32, handed to
transformers' own Llama model and run eagerly on the first 512 tokens of the text. README.md
describes the files.
"""

import argparse
import hashlib
import json
import math
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGUFReader, dequantize
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

HERE = Path(__file__).parent
TOKENS, POSITIONS, COLUMNS = 512, 16, 64
CONTROL_TOKEN = 3  # of GGUF's token types

NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def field(reader: GGUFReader, name: str) -> Any:
    return reader.get_field(name).contents()


def config_of(reader: GGUFReader) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(field(reader, "tokenizer.ggml.tokens")),
        hidden_size=field(reader, "llama.embedding_length"),
        intermediate_size=field(reader, "llama.feed_forward_length"),
        num_hidden_layers=field(reader, "llama.block_count"),
        num_attention_heads=field(reader, "llama.attention.head_count"),
        num_key_value_heads=field(reader, "llama.attention.head_count_kv"),
        max_position_embeddings=field(reader, "llama.context_length"),
        rms_norm_eps=field(reader, "llama.attention.layer_norm_rms_epsilon"),
        rope_parameters={
            "rope_type": "default",
            "rope_theta": field(reader, "llama.rope.freq_base"),
        },
        tie_word_embeddings=True,
    )


def half_split(matrix: np.ndarray, heads: int) -> np.ndarray:
    """Undo llama.cpp's interleaving of the rows of q and k, (out, in)."""
    rows, columns = matrix.shape
    return (
        matrix.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)
    )


def state_of(reader: GGUFReader, config: LlamaConfig) -> dict[str, torch.Tensor]:
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    state = {}
    for tensor in reader.tensors:
        *block, module, kind = tensor.name.split(".")
        matrix = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if module in heads:
            matrix = half_split(matrix, heads[module])
        prefix = f"model.layers.{block[1]}." if block else ""
        state[f"{prefix}{NAMES[module]}.{kind}"] = torch.from_numpy(np.ascontiguousarray(matrix))
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    return state


def tokenizer_of(reader: GGUFReader) -> Tokenizer:
    tokens = field(reader, "tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in field(reader, "tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kinds = field(reader, "tokenizer.ggml.token_type")
    special = [t for t, kind in zip(tokens, kinds, strict=True) if kind == CONTROL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    return tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    args = parser.parse_args()
    reader = GGUFReader(args.gguf)
    config = config_of(reader)
    config._attn_implementation = "eager"
    model = LlamaForCausalLM(config).eval()
    model.load_state_dict(state_of(reader, config), strict=True)
    text = args.text.read_text(encoding="utf-8")  # line ends become \n
    ids = np.array(tokenizer_of(reader).encode(text).ids, np.int32)
    tokens = ids[:TOKENS]
    with torch.no_grad():
        logits = model(torch.from_numpy(tokens.astype(np.int64))[None]).logits[0]
    targets = torch.from_numpy(tokens[1:].astype(np.int64))
    nll = torch.nn.functional.cross_entropy(logits[:-1].double(), targets, reduction="none")

    positions = np.linspace(0, TOKENS - 1, POSITIONS).round().astype(np.int32)
    spread = np.linspace(0, config.vocab_size - 1, COLUMNS).round()
    # Tokens of the text itself, some of which are likely, and others from the whole vocabulary.
    columns = np.unique(np.concatenate([np.unique(tokens)[::20], spread]).astype(np.int32))
    columns = np.sort(np.random.default_rng(0).choice(columns, COLUMNS, replace=False))
    golden = {
        "nll": nll.numpy().astype(np.float32),
        "positions": positions,
        "columns": columns,
        "logits": logits.numpy()[np.ix_(positions, columns)].astype(np.float32),
    }
    save_file(golden, HERE / "golden.safetensors")
    nll_sum = float(nll.sum())
    record = {
        "gguf_sha256": hashlib.sha256(args.gguf.read_bytes()).hexdigest(),
        "text_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "text_tokens": len(ids),
        "tokens_sha256": hashlib.sha256(ids.astype("<i4").tobytes()).hexdigest(),
        "nll_sum": nll_sum,
        "perplexity": math.exp(nll_sum / (TOKENS - 1)),
        "logits_min": float(logits.min()),
        "logits_max": float(logits.max()),
        "versions": {p: version(p) for p in ("torch", "transformers", "gguf", "tokenizers")},
    }
    (HERE / "golden.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
