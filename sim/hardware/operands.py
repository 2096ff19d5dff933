"""Files with the codes of a real layer, on which the energy of a PE is measured."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from numerics.formats import Format
from numerics.pe.exact_dot import integer_table
from rtl.cost.cost import SEED, STREAMS, Stream
from rtl.element import ProcessingElement
from rtl.pe.rows import RowPe
from sim.errors import UserError, writing

LONGEST_FILE_BYTES = 256 << 20
TENSORS = "weights", "activations"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCodes:
    """Weights and input activations of a linear layer, as codes of two formats."""

    source: str
    #: Codes of weights, shape (outputs, inputs).
    weights: np.ndarray
    #: Codes of activations, shape (tokens, inputs).
    activations: np.ndarray
    #: Format names of ``weights`` and ``activations``; empty if the file has none.
    formats: dict[str, str] = field(default_factory=dict)


def write_codes(codes: LayerCodes, path: Path) -> None:
    """Write codes as the safetensors tensors ``weights`` and ``activations``.

    The metadata holds their ``source``, and their formats under the names of the tensors.
    """
    tensors = {name: np.ascontiguousarray(getattr(codes, name)) for name in TENSORS}
    content = save(tensors, metadata={"source": codes.source, **codes.formats})
    with writing(path):
        path.write_bytes(content)


def read_codes(path: Path) -> LayerCodes:
    """Return the codes of a safetensors file with the tensors ``weights`` and ``activations``.

    Raises
    ------
    UserError
        The file is too large or not a safetensors file, a tensor is missing or does not hold codes,
        or the two have different numbers of inputs.
    """
    if path.is_dir():
        raise UserError(f"{path} is a directory; --operands takes a file of codes")
    size = path.stat().st_size
    if size > LONGEST_FILE_BYTES:
        raise UserError(f"{path} has {size} bytes; a file of operands has at most 256 MiB")
    try:
        with safe_open(path, framework="numpy") as file:
            weights, activations = (_codes(path, name, file) for name in TENSORS)
            about = file.metadata() or {}
    except SafetensorError as error:
        raise UserError(f"{path} is not a safetensors file: {error}") from None
    if weights.shape[1] != activations.shape[1]:
        raise UserError(
            f"{path} has weights of {weights.shape[1]} inputs, but activations of"
            f" {activations.shape[1]}; both need the same number"
        )
    return LayerCodes(
        source=about.get("source", path.name),
        weights=weights,
        activations=activations,
        formats={name: about[name] for name in TENSORS if name in about},
    )


def _codes(path: Path, name: str, file: Any) -> np.ndarray:
    known = list(file.keys())
    if name not in known:
        raise UserError(
            f"{path} has no tensor {name}; it holds {', '.join(known) or 'none'}."
            " qsim rtl run-layer --codes FILE writes such files"
        )
    codes: np.ndarray = file.get_tensor(name)
    if codes.ndim != 2 or not codes.size or codes.dtype.kind not in "iu":
        raise UserError(
            f"{path}: {name} is {codes.dtype} of shape {codes.shape}; codes are whole numbers of"
            " shape (rows, inputs)"
        )
    return codes


def stream_of(pe: ProcessingElement, codes: LayerCodes) -> Stream:
    """Return groups of a layer's codes, drawn at random, as the operands of a PE.

    Raises
    ------
    UserError
        The PE does not read rows of weights and activations, or the codes are of other formats.
    """
    if not isinstance(pe, RowPe) or not pe.has_only_rows:
        raise UserError(
            f"{pe.name} does not read rows of weights and activations, as --operands needs"
        )
    formats = pe.formats
    for name, fmt in formats.items():
        if codes.formats.get(name, fmt.name) != fmt.name:
            raise UserError(
                f"{codes.source} has {name} of {codes.formats[name]}; {pe.name} takes those of"
                f" {fmt.name}"
            )
        _check_codes(fmt, getattr(codes, name), name, codes.source)
    weights, activations = _groups(pe, codes)
    operands = pe.beats(weights, activations)
    return Stream(
        operands=operands,
        source=f"{codes.source}: weights {_spread(formats['weights'], weights)}, activations"
        f" {_spread(formats['activations'], activations)}, seed {SEED},"
        f" {STREAMS} groups of {operands['weights'].shape[1]} beats",
    )


def _check_codes(fmt: Format, codes: np.ndarray, what: str, source: str) -> None:
    wrong = codes[(codes < 0) | (codes >= 1 << fmt.bits)]
    if wrong.size:
        raise UserError(
            f"{source} has the code {wrong[0]} among its {what};"
            f" {fmt.name} has codes 0 to {(1 << fmt.bits) - 1}"
        )


def _groups(pe: RowPe, codes: LayerCodes) -> tuple[np.ndarray, np.ndarray]:
    """Return the PE's longest groups, from random outputs, tokens and positions in the rows."""
    inputs = codes.weights.shape[1]
    group = min(pe.length, inputs)
    group -= group % pe.lanes
    if not group:
        raise UserError(f"a layer of {inputs} inputs is too short for {pe.lanes} lanes")
    random = np.random.default_rng(SEED)
    start = group * random.integers(0, inputs // group, STREAMS)
    places = start[:, None] + np.arange(group)
    output, token = (
        random.integers(0, len(rows), STREAMS) for rows in (codes.weights, codes.activations)
    )
    return codes.weights[output[:, None], places], codes.activations[token[:, None], places]


def _spread(fmt: Format, codes: np.ndarray) -> str:
    """Return the standard deviation and the zeros of codes, on which switching energy depends.

    >>> from numerics import FORMATS
    >>> _spread(FORMATS["int4"], np.array([0, 0, 7, 9]))
    'of standard deviation 0.619 of the largest value, 50% zeros'
    """
    table = np.array(integer_table(fmt), np.float64)
    values = table[codes]
    deviation, zeros = values.std() / abs(table).max(), (values == 0).mean()
    return f"of standard deviation {deviation:.3g} of the largest value, {zeros:.0%} zeros"
