"""Text to token ids and back, by a model's own tokenizer."""

import json
from collections.abc import Set
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

import numpy as np
import tokenizers
from jaxtyping import Int32

from sim.errors import UserError
from sim.sources.files import read_small_text
from sim.sources.tokenizer_settings import (
    TokenizerSettings,
    add_tokens,
    read_settings,
    set_prefix_space,
)

#: Text that is encoded to see what the template adds.
PROBE = "a"
#: Gemma's 256,000 tokens take 34 MB.
MAX_TOKENIZER_BYTES = 128 * 2**20
#: Embedding rows without a token that are accepted: this number, or a share of all rows if that is
#: more. Phi-2 has 905, LFM2 1,136 and DeepSeek LLM 7B 2,385 (2.3 %), most models none.
MAX_PADDING_ROWS, MAX_PADDING_SHARE = 1023, 0.125


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A tokenizer with its model's convention on how an input starts.

    Names of special tokens that stand in a text are read as those tokens, as transformers does.
    """

    backend: tokenizers.Tokenizer
    #: Tokens that the model expects at the start of its input: none, BOS, or several.
    prefix_ids: tuple[int, ...] = ()
    #: Ids of tokens that files beside ``tokenizer.json`` add; a model may have no rows for them.
    added_ids: frozenset[int] = frozenset()
    #: Names of such tokens that the model has no rows for; a text with one is refused.
    without_rows: tuple[str, ...] = ()

    @property
    def bos_id(self) -> int | None:
        """First token of an input; ``None`` if an input begins with the text."""
        return self.prefix_ids[0] if self.prefix_ids else None

    @property
    def vocab_size(self) -> int:
        """Number of ids in ``tokenizer.json``, counted up to the largest."""
        ids = set(self.backend.get_vocab(with_added_tokens=True).values()) - self.added_ids
        return 1 + max(ids, default=-1)

    def encode(self, text: str) -> Int32[np.ndarray, " n"]:
        """Token ids of ``text`` without special tokens; refuse tokens without an embedding."""
        for name in self.without_rows:
            if name in text:
                raise UserError(
                    f"the text has the token {name!r}, which the model has no embedding of; remove "
                    "it from the text, or from the files of the tokenizer"
                )
        return np.array(self.backend.encode(text, add_special_tokens=False).ids, np.int32)

    def decode(self, ids: Int32[np.ndarray, " n"]) -> str:
        """Text of ``ids``, special tokens by their names."""
        text: str = self.backend.decode([int(i) for i in ids], skip_special_tokens=False)
        return text

    def checked(self, rows: int, where: Path) -> "Tokenizer":
        """Return itself for an embedding of ``rows`` rows; refuse one that does not fit it.

        Tokens that files beside ``tokenizer.json`` add after the last row are left out.
        """
        size = self.vocab_size
        largest = max((size - 1, *self.prefix_ids))
        if largest >= rows:
            raise UserError(
                f"the tokenizer of {where} has ids up to {largest}, but the model embeds only "
                f"{rows} tokens; use the tokenizer that belongs to the model"
            )
        if rows - size > max(MAX_PADDING_ROWS, MAX_PADDING_SHARE * rows):
            raise UserError(
                f"the tokenizer of {where} has {size} tokens, but the model embeds {rows}, more "
                "than padding explains; use the tokenizer that belongs to the model"
            )
        too_large = {index for index in self.added_ids if index >= rows}
        return self._without(too_large) if too_large else self

    def _without(self, ids: Set[int]) -> "Tokenizer":
        """Return the tokenizer without some added tokens."""
        raw = json.loads(self.backend.to_str())
        raw["added_tokens"] = [token for token in raw["added_tokens"] if token["id"] not in ids]
        backend = tokenizers.Tokenizer.from_str(json.dumps(raw))
        backend.encode_special_tokens = self.backend.encode_special_tokens
        names = tuple(str(self.backend.id_to_token(index)) for index in sorted(ids))
        return replace(self, backend=backend, added_ids=self.added_ids - ids, without_rows=names)


def load_tokenizer(directory: Path) -> Tokenizer:
    """Read ``tokenizer.json`` of a directory and the settings beside it."""
    path = directory / "tokenizer.json"
    if not path.is_file():
        raise UserError(
            f"no tokenizer.json in {directory}; save it there with the tokenizers library "
            "(Tokenizer.save) or transformers (save_pretrained of a fast tokenizer)"
        )
    text = read_small_text(path, limit=MAX_TOKENIZER_BYTES)
    settings = read_settings(directory, text)
    backend = parse_tokenizer(text, path, settings)
    known = set(backend.get_vocab(with_added_tokens=True))
    added_ids = add_tokens(backend, settings)
    known |= {token.content for token in settings.added}
    return Tokenizer(backend, _prefix_ids(backend, settings, known), added_ids)


def parse_tokenizer(
    text: str, path: Path, settings: TokenizerSettings | None = None
) -> tokenizers.Tokenizer:
    """Build a tokenizer from the text of a ``tokenizer.json``, never truncating nor padding."""
    try:
        raw = json.loads(text)  # RecursionError, where the library would exhaust the stack
        changed = settings is not None and set_prefix_space(raw, settings)
        backend = tokenizers.Tokenizer.from_str(json.dumps(raw) if changed else text)
    except Exception as error:  # the library raises plain Exception
        raise UserError(f"{path} is not a readable tokenizer: {error}") from None
    backend.no_truncation()
    backend.no_padding()
    return backend


def _prefix_ids(
    backend: tokenizers.Tokenizer, settings: TokenizerSettings, known: Set[str]
) -> tuple[int, ...]:
    """Return the tokens that start an input: what the configuration says, else the template."""
    flag = settings.config.get("add_bos_token")
    if flag is None:
        return _template_prefix(backend)
    token = settings.config.get("bos_token", settings.class_tokens.get("bos_token"))
    if not flag or token is None:  # without a token there is nothing to add
        return ()
    content = token.get("content") if isinstance(token, dict) else token
    bos_id: int | None = None
    if isinstance(content, str) and content in known:
        bos_id = backend.token_to_id(content)
    if bos_id is None:
        raise UserError(
            f"{settings.path} asks for a BOS token, but the tokenizer has no {content!r}"
        )
    return (bos_id,)


def _template_prefix(backend: tokenizers.Tokenizer) -> tuple[int, ...]:
    """Return the tokens that the template of ``tokenizer.json`` puts before a text."""
    encoded = backend.encode(PROBE, add_special_tokens=True)
    pairs = zip(encoded.ids, encoded.special_tokens_mask, strict=True)
    return tuple(index for index, _ in takewhile(lambda pair: pair[1], pairs))
