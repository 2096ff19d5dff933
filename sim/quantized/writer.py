"""Writer of models as packed checkpoints or GGUF files."""

import contextlib
import math
import os
import shutil
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress, track

import numerics
from numerics.gguf.block_types import BLOCK_TYPES
from numerics.gguf.scheme import GgufScheme
from sim.calibration.checkpoint import Checkpoint
from sim.calibration.spool import Spool
from sim.calibration.text import Calibration
from sim.directories import made_directory
from sim.errors import UserError, user_errors
from sim.methods import catalog as methods
from sim.methods.block_report import Report
from sim.model.tensors import EMBED_TOKENS, LM_HEAD, linear_names
from sim.names.gguf_mix import FILE_TYPES, GgufMix
from sim.quantized.gguf_vocabulary import general_keys, vocabulary_keys
from sim.quantized.gguf_writer import KEEP, GgufPlan, write_gguf
from sim.quantized.packed_writer import write_packed
from sim.quantized.table_types import DEFAULT_TYPES, TableTypes
from sim.sources.packed import open_checkpoint
from sim.sources.source import ModelSource
from sim.sweep.recipe import Recipe, Rule, embedding_names, plan
from sim.sweep.store import point_key

#: Name of the GGUF file in a directory.
GGUF_NAME = "model.gguf"
#: ``general.file_type`` of files in floating point, and in MXFP4 (with other tensors in Q8_0).
FLOAT_FILE, MXFP4_FILE = 0, 38
Item = TypeVar("Item")


def write_model(
    source: ModelSource,
    recipe: Recipe,
    out: Path,
    tables: TableTypes = DEFAULT_TYPES,
    calibration: Calibration | None = None,
    memory_bytes: float = math.inf,
) -> Path:
    """Quantize ``source`` by the weight schemes of ``recipe`` into a new file or directory.

    ``out`` appears only when everything is written; the same call after a process that was killed
    goes on behind the last block that it kept. Schemes that are all block types of GGUF make a
    GGUF file: ``out`` itself if its name ends in ``.gguf``, else ``model.gguf`` in a directory. A
    recipe without schemes makes a ``.gguf`` file in floating point.

    Other schemes make a directory with ``qsim.json``, ``tokenizer.json`` and ``model.safetensors``
    (codes and side data as ``NAME.weight.codes`` and so on, bytes; norms, biases and kept layers in
    the smallest float type that holds their values). Codes are those that the recipe's methods
    choose, the calibrated ones on the windows of ``calibration``.
    """
    if out.exists():
        raise UserError(f"{out} exists already; name a new file or directory")
    planned = plan(recipe, source.config)
    schemes = planned.weights
    blocks = {name: s for name, s in schemes.items() if isinstance(s, GgufScheme)}
    wants_file = out.suffix.lower() == ".gguf"
    is_gguf = len(blocks) == len(schemes) and (bool(blocks) or wants_file)
    if wants_file and not is_gguf:
        known = ", ".join(dict.fromkeys((*BLOCK_TYPES, *FILE_TYPES)))
        raise UserError(
            f"{recipe.name} has no block type in GGUF, so it can't be {out.name}; formats of GGUF "
            f"are {known}, and others are written to a directory"
        )
    if is_gguf and planned.config.online is not None:
        raise UserError(
            f"{recipe.name} has online Hadamard transforms, which GGUF files can't describe; "
            "take a format that is written to a directory, or rotations r1 and r2 alone"
        )
    if is_gguf and any(chain.repair for chain in planned.methods.values()):
        raise UserError(
            f"{recipe.name} has low-rank repairs, which GGUF files can't hold; leave the repair "
            f"out, or take a format that is written to a directory"
        )
    tables.check(is_gguf=is_gguf)
    key = _key(source, recipe, tables, calibration)
    place = out.parent / f".{out.name}-unfinished"
    with made_directory(out.parent), Checkpoint(place, key) as checkpoint:
        if not checkpoint.is_locked:
            raise UserError(f"another process is writing {out}; wait for it or name another")
        staging = checkpoint.directory / "model"
        if checkpoint.saved is None:
            shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(exist_ok=True)
        tokens = None if calibration is None else calibration.tokens
        with user_errors(ValueError):
            model = planned.transformed(source, tokens, checkpoint.once)
        if not is_gguf or planned.methods:
            # Codes that a method chose go by way of a packed checkpoint into a GGUF file.
            exact = TableTypes(embeddings=KEEP, head=KEEP)
            packed = checkpoint.directory / "packed" if is_gguf else staging
            packed.mkdir(exist_ok=True)
            spool = Spool(memory_bytes / 2, checkpoint.directory)
            chosen = exact if is_gguf else tables
            with _bar(planned.config.layers) as advance:
                write_packed(
                    model, planned, chosen, packed, calibration, advance, checkpoint, spool
                )
        if is_gguf:
            solved = open_checkpoint(packed) if planned.methods else None
            gguf_plan = _gguf_plan(recipe, model, blocks, tables)
            vocabulary = general_keys(source) | vocabulary_keys(source)
            write_gguf(
                solved or model,
                gguf_plan,
                staging / GGUF_NAME,
                vocabulary,
                _tracked,
                codes=None if solved is None else solved.codes,
            )
        for path in (staging, *staging.iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)
        os.replace(staging / GGUF_NAME if wants_file else staging, out)
    return out


def _key(
    source: ModelSource, recipe: Recipe, tables: TableTypes, calibration: Calibration | None
) -> str:
    """Return a hash of everything that decides the file."""
    parts = {
        "model": source.content_hash,
        "recipe": recipe.canonical(),
        "tables": f"{tables.embeddings} {tables.head}",
        "calibration": "" if calibration is None else calibration.key,
        "methods": str(methods.VERSION),
        "numerics": str(numerics.VERSION),
    }
    return point_key(parts)


def _gguf_plan(
    recipe: Recipe, source: ModelSource, schemes: dict[str, GgufScheme], tables: TableTypes
) -> GgufPlan:
    names = (*linear_names(source.config), *embedding_names(source.config))
    if not schemes:
        return GgufPlan(file_type=FLOAT_FILE, schemes={}, kept=frozenset(names))
    mix, file_type = _mix_of(recipe, schemes)
    skipped = [rule.match for rule in recipe.rules if rule == Rule(match=rule.match)]
    kept = {name for name in names if any(fnmatchcase(name, match) for match in skipped)}
    return GgufPlan(
        file_type=file_type,
        schemes={name: s for name, s in schemes.items() if name not in _chosen(tables)},
        tables=mix,
        kept=frozenset(kept),
        embedding=tables.embeddings,
        head=tables.head,
    )


def _mix_of(recipe: Recipe, schemes: dict[str, GgufScheme]) -> tuple[GgufMix, int]:
    """Return the mix of a recipe, or the pure one of its block type, and its file type."""
    mix = next((r.weights for r in recipe.rules if isinstance(r.weights, GgufMix)), None)
    kind = mix.kind if mix else min(scheme.type_name for scheme in schemes.values())
    if kind == "mxfp4-gguf":
        return GgufMix("q8_0"), MXFP4_FILE
    kind = f"{kind}_s" if mix is None and f"{kind}_s" in FILE_TYPES else kind
    return GgufMix(kind), FILE_TYPES[kind]


def _chosen(tables: TableTypes) -> tuple[str, ...]:
    pairs = ((EMBED_TOKENS, tables.embeddings), (LM_HEAD, tables.head))
    return tuple(name for name, kind in pairs if kind is not None)


def _tracked(items: list[Item]) -> Iterable[Item]:
    """Return the items, with a progress bar on the terminal."""
    console = Console(stderr=True)
    # A bar in a pipe or a file would be an empty line.
    hidden = not console.is_terminal
    return track(items, "Quantizing", console=console, transient=True, disable=hidden)


@contextlib.contextmanager
def _bar(blocks: int) -> Iterator[Report]:
    """Show a progress bar of blocks on the terminal, and the line of the last one."""
    console = Console(stderr=True)
    hidden = not console.is_terminal
    with Progress(console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task("Quantizing blocks", total=blocks)

        yield lambda line, done: progress.update(
            task, description=f"Quantizing, {line}", completed=done
        )
