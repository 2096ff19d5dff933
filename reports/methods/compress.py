"""Quantize a Hugging Face directory with llm-compressor, and write the weights it computes with.

Run by ``peer.py`` with the Python of an environment that has llm-compressor; nothing of qsim is
imported. Writes the weights in float32 after quantization and dequantization, and ``timing.json``.
"""

import argparse
import importlib.metadata
import json
import resource
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from compressed_tensors.quantization.lifecycle.forward import fake_quantize
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers import Modifier
from llmcompressor.modifiers.gptq import GPTQModifier
from llmcompressor.modifiers.quantization import QuantizationModifier
from llmcompressor.modifiers.transform.awq import AWQModifier
from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier
from llmcompressor.pipelines.cache import IntermediatesCache
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

PACKAGES = ("llmcompressor", "compressed-tensors", "transformers", "torch")
#: The head stays in floating point, as in qsim and in all examples of llm-compressor.
KEPT = ["lm_head"]


def allow_cpu() -> None:
    """Let AWQ run without an accelerator.

    Version 0.14 pins its cached inputs for faster copies to the accelerator, which raises an error
    where there is none. Numbers do not depend on it.
    """
    if not torch.accelerator.is_available():
        IntermediatesCache.pin_memory = lambda *_: None


def weights(text: str) -> dict[str, object]:
    """Return the fields of weights such as ``int4:g64``, ``int4:g64:asym`` or ``int8:channel``."""
    bits, granularity, *asymmetric = text.removeprefix("int").split(":")
    fields: dict[str, object] = {"num_bits": int(bits), "symmetric": not asymmetric}
    if granularity == "channel":
        return fields | {"strategy": "channel"}
    return fields | {"strategy": "group", "group_size": int(granularity.removeprefix("g"))}


def recipe(method: str, scheme: str, activations: str | None) -> list[Modifier]:
    """Return the modifiers of a chain such as ``smoothquant+gptq``, with their default options."""
    inputs = QuantizationArgs(num_bits=8, strategy="token", dynamic=True) if activations else None
    group = QuantizationScheme(
        targets=["Linear"], weights=QuantizationArgs(**weights(scheme)), input_activations=inputs
    )
    *transforms, solver = method.split("+")
    known = {"awq": AWQModifier, "smoothquant": SmoothQuantModifier}
    solvers = {"rtn": QuantizationModifier, "gptq": GPTQModifier}
    last = solvers[solver](config_groups={"group_0": group}, ignore=KEPT)
    return [*(known[name]() for name in transforms), last]


def rounded(module: torch.nn.Module) -> torch.Tensor:
    """Return the weight that the forward pass of a quantized layer multiplies with."""
    return fake_quantize(
        module.weight.data,
        module.weight_scale,
        getattr(module, "weight_zero_point", None),
        module.quantization_scheme.weights,
    )


def save(model: torch.nn.Module, source: Path, out: Path) -> None:
    """Write the dequantized weights beside the configuration and tokenizer of ``source``."""
    tensors = {name: tensor.detach() for name, tensor in model.named_parameters()}
    kept = {n: t for n, t in tensors.items() if n.endswith(("norm.weight", "embed_tokens.weight"))}
    for name, module in model.named_modules():
        if getattr(module, "quantization_scheme", None) is not None:
            kept[f"{name}.weight"] = rounded(module)
    out.mkdir(parents=True)
    for file in ("config.json", "tokenizer.json"):
        shutil.copy(source / file, out / file)
    arrays = {name: tensor.detach().float().contiguous() for name, tensor in kept.items()}
    save_file(arrays, out / "model.safetensors", metadata={"format": "pt"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face directory")
    parser.add_argument("--tokens", type=Path, required=True, help=".npy of windows by tokens")
    parser.add_argument("--method", required=True, help="such as awq+rtn or smoothquant+gptq")
    parser.add_argument("--weights", required=True, help="int4:g64, int4:g64:asym or int8:channel")
    parser.add_argument("--activations", choices=["int8:token"], help="rounding of the inputs")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the windows")
    parser.add_argument("--out", type=Path, required=True, help="new directory")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    allow_cpu()
    tokens = np.load(args.tokens)
    data = Dataset.from_dict(
        {"input_ids": tokens.tolist(), "attention_mask": np.ones_like(tokens).tolist()}
    )
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
    modifiers = recipe(args.method, args.weights, args.activations)
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    oneshot(
        model=model,
        dataset=data,
        recipe=modifiers,
        max_seq_length=tokens.shape[1],
        num_calibration_samples=len(tokens),
    )
    wall_s = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    save(model, args.model, args.out)
    timing = {
        "wall_s": wall_s,
        "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_bytes": after.ru_maxrss * 1024,
        "threads": torch.get_num_threads(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }
    (args.out / "timing.json").write_text(json.dumps(timing, indent=1))


if __name__ == "__main__":
    main()
