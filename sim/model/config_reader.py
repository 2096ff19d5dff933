"""Reading a model's ``config.json`` so that no field goes unnoticed.

Every getter marks its field as read; :meth:`ConfigReader.finish` refuses what nobody asked for,
unless it is known to leave the mathematics alone.
"""

import json
import math
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")

#: No tensor dimension of a real model comes near this; a damaged file may hold anything.
MAX_SIZE = 2**24

_HARMLESS = """
_attn_implementation_autoset _commit_hash _name_or_path activation_dropout architectures
attention_dropout attn_implementation attn_pdrop auto_map bad_words_ids begin_suppress_tokens
bos_token_id cache_implementation chunk_size_feed_forward decoder_start_token_id
diversity_penalty do_sample dropout dtype early_stopping embd_pdrop
encoder_no_repeat_ngram_size eos_token_id exponential_decay_length_penalty finetuning_task
forced_bos_token_id forced_eos_token_id hidden_dropout id2label init_std initializer_range
is_decoder is_llama_config keys_to_ignore_at_inference label2id layerdrop length_penalty
max_length min_length model_type no_repeat_ngram_size num_beam_groups num_beams num_labels
num_return_sequences output_attentions output_hidden_states output_scores pad_token_id prefix
pretraining_tp problem_type remove_invalid_values reorder_and_upcast_attn repetition_penalty
resid_pdrop return_dict return_dict_in_generate sep_token_id summary_activation
summary_first_dropout summary_proj_to_labels summary_type summary_use_proj suppress_tokens
task_specific_params temperature tf_legacy_loss tokenizer_class top_k top_p torch_dtype
torchscript transformers.js_config transformers_version typical_p unsloth_fixed
unsloth_version use_bfloat16 use_cache
"""

#: Fields that describe training, generation, storage or bookkeeping, and never the forward pass.
HARMLESS = frozenset(_HARMLESS.split())

#: Fields that switch a part on; with these values it stays off.
SWITCHED_OFF: Mapping[str, tuple[object, ...]] = {
    "add_cross_attention": (False,),
    "attention_bias": (False,),
    "enable_bias": (True,),
    "full_attn_mod": (1,),
    "interpolate_factor": (1,),
    "is_encoder_decoder": (False,),
    "lm_head_bias": (False,),
    "mlp_bias": (False,),
    "partial_rotary_factor": (1, 1.0),
    "pruned_heads": ({},),
    "qk_layernorm": (False,),
    "rope_interleaved": (False,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "tie_encoder_decoder": (False,),
    "use_bidirectional_attention": (False,),
    "use_mrope": (False,),
    "use_sliding_window": (False,),
}


def shown(value: object, limit: int = 60) -> str:
    """Return a value as JSON, shortened to one line of at most ``limit`` characters."""
    text = json.dumps(value, default=str)
    return text if len(text) <= limit else text[: limit - 3] + "..."


class ConfigReader:
    """Typed, counted access to the fields of one JSON object.

    Parameters
    ----------
    raw : Mapping
        The parsed object.
    context : str
        Where errors say the field is, such as ``"llama configuration"``.
    """

    def __init__(self, raw: Mapping[str, object], context: str) -> None:
        self._raw, self.context = raw, context
        self._read: set[str] = set()

    def given(self, name: str) -> bool:
        """Whether the field is there, ``null`` or not."""
        return name in self._raw

    def take(self, name: str, default: object = None) -> object:
        """Return a field as it is."""
        self._read.add(name)
        return self._raw.get(name, default)

    def integer(self, name: str, default: int, *, low: int = 1, high: int = MAX_SIZE) -> int:
        """Return an integer from ``low`` to ``high``; ``null`` means the default."""
        value = self.take(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.wrong(name, f"must be an integer from {low} to {high}")
        return value

    def optional_integer(self, name: str, *, low: int = 1, high: int = MAX_SIZE) -> int | None:
        """Return an integer from ``low`` to ``high``; ``null`` and absence mean ``None``."""
        return None if self.take(name) is None else self.integer(name, low, low=low, high=high)

    def number(self, name: str, default: float) -> float:
        """Return a finite number greater than zero; ``null`` means the default."""
        value = self.take(name)
        if value is None:
            return default
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        # Integers beyond the range of a float can't be asked whether they are finite.
        if not is_number or not 0 < float_or_nan(value) < math.inf:
            raise self.wrong(name, "must be a finite number greater than 0")
        return float_or_nan(value)

    def optional_number(self, name: str, default: float | None) -> float | None:
        """Return a number greater than zero; ``null`` means ``None``, absent the default."""
        if self.take(name, default) is None:
            return None
        return self.number(name, default or 0.0)

    def flag(self, name: str, default: bool) -> bool:
        """Return a boolean."""
        value = self.take(name, default)
        if not isinstance(value, bool):
            raise self.wrong(name, "must be true or false")
        return value

    def choice(self, name: str, default: str, choices: Mapping[str, T]) -> T:
        """Return what a string stands for."""
        value = self.take(name, default)
        if not isinstance(value, str) or value not in choices:
            raise self.wrong(name, f"must be one of {', '.join(choices)}")
        return choices[value]

    def only(self, name: str, *supported: object) -> None:
        """Refuse a field unless absent or one of the supported values."""
        value = self.take(name, supported[0])
        if not any(_same(value, other) for other in supported):
            raise self.wrong(name, f"only {' or '.join(map(shown, supported))} is supported")

    def finish(self) -> None:
        """Refuse fields that nobody read and that might change the mathematics."""
        for name in sorted(set(self._raw) - self._read - HARMLESS):
            value = self._raw[name]
            if value is None:
                continue
            if not any(_same(value, off) for off in SWITCHED_OFF.get(name, ())):
                raise ValueError(
                    f"{self.context}: {name} = {shown(value)} is not supported; the field may "
                    f"change what the model computes, so it can't be ignored"
                )

    def shown(self, name: str) -> str:
        """Return a field as it stands in the file, for a message."""
        return shown(self._raw.get(name))

    def wrong(self, name: str, rule: str) -> ValueError:
        """Return the error for a field that breaks ``rule``."""
        return ValueError(f"{self.context}: {name} {rule}, not {shown(self._raw.get(name))}")


def float_or_nan(value: object) -> float:
    """Return a number as a float; NaN if it is too large for one."""
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:
        return math.nan


def _same(a: object, b: object) -> bool:
    """Equality for which 1 and true are different."""
    return a == b and isinstance(a, bool) == isinstance(b, bool)
