"""Which reader reads a directory: the table of layouts, tried by the name of the method."""

import json
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from numerics.names.suggest import unknown
from sim.errors import UserError
from sim.sources.files import read_json
from sim.sources.hf_files import StoredTensor, file_metadata
from sim.sources.readers.layout import Layout, OpenLayout

#: Fields of config.json with quantization settings, the newest name first.
FIELDS = ("quantization_config", "compression_config", "quantization")
#: Files of settings beside config.json, and the method whose tools write them.
FILES = {
    "quantize_config.json": "gptq",
    "quant_config.json": "awq",
    "hf_quant_config.json": "modelopt",
}
#: Module of the reader of each method.
READERS = {
    "compressed-tensors": "compressed_tensors",
    "sparseml": "compressed_tensors",
    "gptq": "gptq",
    "awq": "awq",
    "fp8": "fp8",
    "fbgemm_fp8": "fp8",
    "bitsandbytes": "bitsandbytes",
    "modelopt": "modelopt",
    "modelopt_fp4": "modelopt",
    "mlx": "mlx",
    "auto-round": "auto_round",
    "bitnet": "bitnet",
    "torchao": "torchao",
    "hqq": "hqq",
    "aqlm": "aqlm",
    "gemma": "gemma",
}
#: Methods of other tools, with the reason why they are refused.
REFUSED = {
    "eetq": "its weights are permuted for CUTLASS",
    "quip": "its Hadamard factors are not supported",
    "spqr": "its sparse outliers are not supported",
    "exl2": "its mixed bit widths are not supported",
    "exl3": "its trellis codes are not supported",
    "higgs": "its grids are not supported",
    "mxfp4": "the family of its mixtures of experts is not supported",
    "vptq": "its permuted vectors are not supported",
    "quanto": "its slabs are not supported",
    "metal": "it is not supported",
    "quark": "it is not supported",
    "fp_quant": "it is not supported",
    "sinq": "it is not supported",
}
MAX_SETTINGS_BYTES = 2**24


def find_layout(
    path: Path, config: Mapping[str, Any], stored: Mapping[str, StoredTensor]
) -> Layout | None:
    """Return the layout of a directory; ``None`` if its weights are in floating point.

    Raises :class:`UserError` for settings of an unknown method.
    """
    found = _settings(path, config)
    if found is None:
        return None
    method, settings, place = found
    if method in REFUSED:
        raise UserError(f"{path}: checkpoints of {method} can't be read, {REFUSED[method]}")
    if method not in READERS:
        raise UserError(f"{path}: {unknown('quant_method', method, READERS, see='README.md')}")
    module: Any = import_module(f"sim.sources.readers.{READERS[method]}")
    open_layout: OpenLayout = module.open_layout
    try:
        return open_layout(settings, _metadata(stored.values()))
    except ValueError as error:
        raise UserError(f"{place}: {error}") from None


def plain_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration without its quantization settings."""
    return {name: value for name, value in config.items() if name not in FIELDS}


def _settings(path: Path, config: Mapping[str, Any]) -> tuple[str, Mapping[str, Any], Path] | None:
    """Return method, settings, and the file that they are in."""
    for field in FIELDS:
        settings = config.get(field)
        if settings is None:
            continue
        if not isinstance(settings, Mapping):
            raise UserError(f"{path / 'config.json'}: {field} must be an object")
        default = "mlx" if field == "quantization" else None
        method = settings.get("quant_method", default)
        if method is None and {"group_size", "bits"} <= settings.keys():
            method = "mlx"  # which writes the same settings under two names
        if not isinstance(method, str):
            raise UserError(f"{path / 'config.json'}: {field} has no quant_method")
        return method.lower(), settings, path / "config.json"
    for name, method in FILES.items():
        if (path / name).is_file():
            settings = read_json(path / name, limit=MAX_SETTINGS_BYTES)
            return str(settings.get("quant_method", method)).lower(), settings, path / name
    return None


def _metadata(stored: Iterable[StoredTensor]) -> dict[str, str]:
    """Return the metadata of all weight files together."""
    joined: dict[str, str] = {}
    for file in sorted({tensor.file for tensor in stored}):
        for name, text in file_metadata(file).items():
            if name == "tensor_names" and name in joined:
                text = json.dumps([*json.loads(joined[name]), *json.loads(text)])
            joined[name] = text
    return joined
