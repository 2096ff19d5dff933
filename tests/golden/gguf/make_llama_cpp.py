"""Freeze what llama.cpp's own quantizer makes of the embedded model.

Needs llama-cpp-python 0.3.36 (llama.cpp 0.5.0) built from its source package. Run it from the
repository's root with a file that ``qsim quantize embedded --format float32 --out embedded.gguf``
wrote: ``python tests/golden/gguf/make_llama_cpp.py embedded.gguf``. It writes ``llama_cpp.json``:
for each mix the file type, and by tensor its type and the first half of the SHA-256 of its bytes.
"""

import ctypes
import hashlib
import json
import sys
import tempfile
from pathlib import Path

import gguf
import llama_cpp

#: Values of ``llama_ftype`` by the name of the mix.
MIXES = {
    "q4_0": 2, "q8_0": 7, "q5_1": 9, "q2_k": 10, "q3_k_s": 11, "q3_k_m": 12, "q3_k_l": 13,
    "q4_k_s": 14, "q4_k_m": 15, "q5_k_s": 16, "q5_k_m": 17, "q6_k": 18, "iq4_nl": 25,
    "iq4_xs": 30,
}  # fmt: skip


def quantized(source: Path, file_type: int, target: Path) -> dict[str, list[str]]:
    """Return type and hash of each tensor that llama.cpp quantized."""
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize, params.nthread = file_type, True, 2
    failed = llama_cpp.llama_model_quantize(
        str(source).encode(), str(target).encode(), ctypes.byref(params)
    )
    assert failed == 0
    tensors = gguf.GGUFReader(target).tensors
    return {
        t.name: [t.tensor_type.name, hashlib.sha256(t.data.tobytes()).hexdigest()[:32]]
        for t in tensors
        if t.tensor_type.name != "F32"
    }


def main() -> None:
    """Write ``llama_cpp.json``."""
    source = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        found = {
            name: {"file_type": kind, "tensors": quantized(source, kind, Path(folder) / name)}
            for name, kind in MIXES.items()
        }
    text = json.dumps(found, indent=1) + "\n"
    Path(__file__).with_name("llama_cpp.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
