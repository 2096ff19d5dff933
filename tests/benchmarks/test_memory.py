"""Peak memory of passes over models larger than memory; run with ``--benchmark-only -o addopts=``.

The models have blocks of the size of Llama-3.1-8B's (4096/14336) with random weights in BF16. The
peak must not grow with the number of layers, and stay below one and a half blocks in float32, the
states, a Hessian with its factor (for calibrated methods) and a gigabyte.
"""

import json
import shutil
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

from sim.model.families import config_from_hf, tensor_shapes
from sim.quantized.tensor_file import TensorFile
from sim.sources.embedded import embedded_directory

HIDDEN, INNER, HEADS, KV_HEADS = 4096, 14336, 32, 8
ATTENTION = 2 * HIDDEN * HIDDEN + 2 * HIDDEN * HIDDEN * KV_HEADS // HEADS
BLOCK_BYTES = 4 * (ATTENTION + 3 * HIDDEN * INNER)
#: Prints the high water mark of its own memory.
PEAK = """
import sys
from sim.cli import main
try:
    main(sys.argv[1:])
finally:
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    print("peak", int(status["VmHWM"].split()[0]) * 1024)
"""


def hf_name(name):
    for ours, theirs in (
        ("attn_norm", "input_layernorm"),
        ("mlp_norm", "post_attention_layernorm"),
        ("final_norm", "norm"),
    ):
        name = name.replace(ours, theirs)
    return f"model.{name}"


def write_model(directory, layers):
    """Write a Llama of random BF16 weights with the embedded model's tokenizer."""
    directory.mkdir()
    shutil.copy(embedded_directory() / "tokenizer.json", directory)
    config = json.loads((embedded_directory() / "config.json").read_text()) | {
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HIDDEN // HEADS,
    }
    (directory / "config.json").write_text(json.dumps(config))
    shapes = {hf_name(n): s for n, s in tensor_shapes(config_from_hf(config)).items()}
    random = np.random.default_rng(0)
    with TensorFile(directory / "model.safetensors", shapes) as file:
        for name, shape in shapes.items():
            values = random.standard_normal(shape, np.float32) * 0.02
            if len(shape) == 1:
                values = np.ones(shape, np.float32)
            file.add(name, values.astype(ml_dtypes.bfloat16))


def peak_bytes(*arguments):
    command = [sys.executable, "-c", PEAK, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[-1].split()[1])


@pytest.mark.parametrize("method", ["rtn", "gptq"])
def test_peak_memory_does_not_grow_with_layers(method, tmp_path, benchmark):
    hessian = 8 * INNER * INNER if method == "gptq" else 0
    text = ["--calibration-tokens", "512", "--sequence", "128"] if method == "gptq" else []
    peaks = {}
    for layers in (2, 4):
        model = tmp_path / f"model-{layers}"
        write_model(model, layers)
        peaks[layers] = peak_bytes(
            "quantize", model, "--format", "int4:g128", "--method", method, *text,
            "--out", tmp_path / f"packed-{layers}",
        )  # fmt: skip
        shutil.rmtree(model)
    benchmark.pedantic(lambda: None, rounds=1)
    benchmark.extra_info |= {f"peak_{layers}": peak for layers, peak in peaks.items()}
    print(f"\n{method}: {', '.join(f'{n} layers {p / 1e9:.2f} GB' for n, p in peaks.items())}")
    assert peaks[4] < 1.05 * peaks[2]
    assert peaks[4] < 1.5 * BLOCK_BYTES + 2.7 * hessian + 1e9
