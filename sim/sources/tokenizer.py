"""Text to token ids and back, by the tokenizer that belongs to a model."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from jaxtyping import Int32

from sim.errors import UserError
from sim.sources.files import read_json, read_small_text

#: Gemma's 256,000 tokens take 34 MB.
MAX_TOKENIZER_BYTES = 128 * 2**20
#: Embedding rows without a token. Phi-2 has 905 of them, Qwen2.5-7B 399, most models none.
MAX_PADDING_ROWS = 1023


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A tokenizer with its model's convention on how an input starts.

    Names of special tokens that stand in a text are read as those tokens, as transformers does.
    """

    backend: tokenizers.Tokenizer
    #: Token that the model expects at the start of its input, if any.
    bos_id: int | None = None

    @property
    def adds_bos(self) -> bool:
        """Whether the model expects a token before the text."""
        return self.bos_id is not None

    @property
    def vocab_size(self) -> int:
        """Number of ids, counted up to the largest."""
        return 1 + max(self.backend.get_vocab(with_added_tokens=True).values(), default=-1)

    def encode(self, text: str) -> Int32[np.ndarray, " n"]:
        """Token ids of ``text``, none added."""
        return np.array(self.backend.encode(text, add_special_tokens=False).ids, np.int32)

    def decode(self, ids: Int32[np.ndarray, " n"]) -> str:
        """Text of ``ids``, special tokens by their names."""
        text: str = self.backend.decode([int(i) for i in ids], skip_special_tokens=False)
        return text

    def checked(self, rows: int, where: Path) -> "Tokenizer":
        """Return itself if it fits an embedding of ``rows`` rows, apart from padding."""
        size = self.vocab_size
        if size > rows:
            raise UserError(
                f"the tokenizer of {where} has ids up to {size - 1}, but the model embeds only "
                f"{rows} tokens; use the tokenizer that belongs to the model"
            )
        if size < rows - MAX_PADDING_ROWS:
            raise UserError(
                f"the tokenizer of {where} has {size} tokens, but the model embeds {rows}, more "
                "than padding explains; use the tokenizer that belongs to the model"
            )
        return self


def load_tokenizer(directory: Path) -> Tokenizer:
    """Read ``tokenizer.json`` of a directory, and what ``tokenizer_config.json`` says of BOS."""
    path = directory / "tokenizer.json"
    if not path.is_file():
        raise UserError(
            f"no tokenizer.json in {directory}; save it there with the tokenizers library "
            "(Tokenizer.save) or transformers (save_pretrained of a fast tokenizer)"
        )
    backend = parse_tokenizer(read_small_text(path, limit=MAX_TOKENIZER_BYTES), path)
    return Tokenizer(backend, _bos_id(backend, directory / "tokenizer_config.json"))


def parse_tokenizer(text: str, path: Path) -> tokenizers.Tokenizer:
    """Build a tokenizer from the text of a ``tokenizer.json``, never truncating nor padding."""
    try:
        json.loads(text)  # the library's own parser can exhaust the stack, this one says so
        backend = tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises plain Exception
        raise UserError(f"{path} is not a readable tokenizer: {error}") from None
    backend.no_truncation()
    backend.no_padding()
    return backend


def _bos_id(backend: tokenizers.Tokenizer, config_path: Path) -> int | None:
    """Return the token that starts an input: what the configuration says, else the template."""
    config = read_json(config_path, limit=2**24) if config_path.is_file() else {}
    flag = config.get("add_bos_token")
    template: list[int] = backend.encode("", add_special_tokens=True).ids
    if flag is None:
        return template[0] if template else None
    return _configured_bos(backend, config, config_path) if flag else None


def _configured_bos(
    backend: tokenizers.Tokenizer, config: dict[str, Any], path: Path
) -> int | None:
    token = config.get("bos_token")
    content = token.get("content") if isinstance(token, dict) else token
    bos_id: int | None = backend.token_to_id(content) if isinstance(content, str) else None
    if bos_id is None:
        raise UserError(f"{path} asks for a BOS token, but the tokenizer has no {content!r}")
    return bos_id
