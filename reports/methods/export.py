"""Write a Llama-family model that qsim reads as a Hugging Face directory in float32.

``python reports/methods/export.py smollm2-135m-instruct DIRECTORY`` lets tools built on transformers
read the weights of a GGUF file exactly as qsim dequantizes them.
"""

import argparse
import json
from pathlib import Path

from safetensors.numpy import save_file

from sim.model.config import ModelConfig
from sim.model.families import hf_recipe, tensor_shapes
from sim.sources.catalog import open_model
from sim.sources.hf_directory import open_directory
from sim.sources.source import ModelSource


def export(source: ModelSource, directory: Path) -> None:
    """Write ``config.json``, ``tokenizer.json`` and ``model.safetensors``; read them back."""
    directory.mkdir(parents=True)
    config = hf_config(source.config, bos_id=source.tokenizer().bos_id)
    (directory / "config.json").write_text(json.dumps(config, indent=1))
    source.tokenizer().backend.save(str(directory / "tokenizer.json"))
    tensors = {
        hf_recipe(source.config, name).name: source.read(name)
        for name in tensor_shapes(source.config)
    }
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    if open_directory(directory).config != source.config:
        raise ValueError(f"config.json does not describe {source.name} completely")


def hf_config(config: ModelConfig, *, bos_id: int | None) -> dict[str, object]:
    """Return the fields of ``config.json`` of a Llama model with plain rotary embeddings."""
    if config.family != "llama" or config.rope is None:
        raise ValueError(f"only llama models can be written, not {config.family}")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": config.max_positions,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope.theta,
        "hidden_act": "silu",
        "tie_word_embeddings": config.tie_embeddings,
        "bos_token_id": bos_id,
        "dtype": "float32",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a model of 'qsim models', a directory or a .gguf file")
    parser.add_argument("directory", type=Path, help="new directory")
    args = parser.parse_args()
    export(open_model(args.model), args.directory)
    print(args.directory)


if __name__ == "__main__":
    main()
