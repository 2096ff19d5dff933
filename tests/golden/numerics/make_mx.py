"""Freeze what torchao, qwix and brevitas make of the same MX blocks.

Needs torch, torchao 0.18, qwix 0.1.8 and brevitas 0.13.4, whose own requirements disagree: install
each without them. Run it from this folder; it writes ``mx.npz``.
"""

import numpy as np
import torch
from brevitas import nn
from brevitas.quant.mx_quant_ocp import MXFloat8e4m3Weight
from qwix._src.core import qarray
from torchao.prototype.mx_formats.config import ScaleCalculationMode
from torchao.prototype.mx_formats.kernels import unpack_uint4
from torchao.prototype.mx_formats.mx_tensor import to_mx

BLOCK = 32
WIDTH = 64
#: Largest value of each element type, and torchao's name of it.
ELEMENTS = {
    "mxfp4": (6.0, torch.float4_e2m1fn_x2),
    "mxfp6_e2m3": (7.5, "fp6_e2m3"),
    "mxfp6_e3m2": (28.0, "fp6_e3m2"),
    "mxfp8_e4m3": (448.0, torch.float8_e4m3fn),
    "mxfp8_e5m2": (57344.0, torch.float8_e5m2),
}
MODES = {mode.value: mode for mode in ScaleCalculationMode}


def rows() -> np.ndarray:
    """Normal and spread numbers, ties, and blocks whose largest number is where rules differ."""
    rng = np.random.default_rng(20261124)
    normal = rng.standard_normal((12, WIDTH))
    spread = normal * 2.0 ** rng.integers(-20, 20, (12, WIDTH))
    ties = rng.integers(-30, 31, (6, WIDTH)) / 4
    tops = [top * 2.0**k for top, _ in ELEMENTS.values() for k in (-16, -3, 0, 5)]
    tops += [2.0**k for k in (-20, -1, 0, 1, 2, 3, 7, 30)] + [3.5, 3.75, 3.9, 1.75, 393216.0]
    exact = np.repeat(np.float32(tops), 3)
    exact[1::3] = np.nextafter(exact[1::3], np.float32(0))
    exact[2::3] = np.nextafter(exact[2::3], np.float32(np.inf))
    edges = (rng.uniform(-1, 1, (exact.size, BLOCK)) * exact[:, None]).astype(np.float32)
    edges[:, 5] = exact
    edges = np.concatenate([edges, edges[: exact.size % 2]]).reshape(-1, WIDTH)
    found = [normal, spread, ties, edges, np.zeros((1, WIDTH))]
    return np.concatenate(found).astype(np.float32)


def of_torchao(x: np.ndarray, element: str, mode: str) -> dict[str, np.ndarray]:
    """Scale bytes and element codes."""
    scales, codes = to_mx(torch.from_numpy(x), ELEMENTS[element][1], BLOCK, MODES[mode])
    codes = codes.view(torch.uint8)
    if element == "mxfp4":
        codes = unpack_uint4(codes)
    return {"scales": scales.view(torch.uint8).numpy(), "codes": codes.numpy()}


def of_qwix(x: np.ndarray, element: str) -> dict[str, np.ndarray]:
    """Scale bytes and values of the elements."""
    how = qarray.HowToQuantize(
        qtype=element.split("_")[0], tiled_axes={1: BLOCK}, channelwise_axes=[0]
    )
    found = qarray.quantize(x, how)
    scales = np.asarray(found.scale).astype(np.float32).view(np.uint32) >> 23
    return {"scales": scales.astype(np.uint8), "elements": np.asarray(found.qvalue, np.float32)}


def of_brevitas(x: np.ndarray) -> np.ndarray:
    """Values of E4M3 blocks."""
    layer = nn.QuantLinear(x.shape[1], x.shape[0], bias=False, weight_quant=MXFloat8e4m3Weight)
    layer.weight.data = torch.from_numpy(x)
    found: np.ndarray = layer.quant_weight().value.detach().numpy()
    return found


def main() -> None:
    """Write the file."""
    x = rows()
    made = {"x": x, "brevitas/mxfp8_e4m3/values": of_brevitas(x)}
    for element in ELEMENTS:
        for mode in MODES:
            for name, array in of_torchao(x, element, mode).items():
                made[f"torchao/{element}-{mode}/{name}"] = array
    for element in ("mxfp4", "mxfp8_e4m3"):
        for name, array in of_qwix(x, element).items():
            made[f"qwix/{element}/{name}"] = array
    np.savez_compressed("mx.npz", **made)


if __name__ == "__main__":
    main()
