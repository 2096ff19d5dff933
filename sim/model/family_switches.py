"""Fields of ``config.json`` that are not implemented, and fields that change nothing.

Source: the configuration class and ``modeling_*.py`` of each family in transformers 5.24, with
``masking_utils.py``, ``modeling_rope_utils.py`` and ``configuration_utils.py``. What none of them
reads has no effect there; ``tests/golden/families/fields.json`` lists what they read.
"""

from collections.abc import Mapping

from sim.model.config_reader import Switches

#: Fields that transformers reads for every family.
_COMMON: Switches = {"is_causal": (True,), "per_layer_config": (), "quantization_config": ()}
#: Fields of families with rotary positions.
_ROTARY: Switches = {"partial_rotary_factor": (1, 1.0)}
_WITHOUT_ROTARY = ("gpt2", "opt")
#: Fields of one family.
_OWN: dict[str, Switches] = {
    "gemma2": {"use_bidirectional_attention": (False,)},
    "gpt2": {"add_cross_attention": (False,), "scale_attn_by_inverse_layer_idx": (False,)},
    "phi": {"qk_layernorm": (False,)},
}

_USUAL = """
_attn_implementation _attn_implementation_autoset _commit_hash _flash_attn_2_enabled
_name_or_path _num_labels activation_dropout architectures attention_dropout attn_implementation
attn_pdrop bad_words_ids begin_suppress_tokens bos_token bos_token_id cache_implementation
chunk_size_feed_forward classifier_dropout decoder_start_token_id diversity_penalty do_sample
dropout dtype early_stopping embd_pdrop encoder_no_repeat_ngram_size eos_token eos_token_id
exponential_decay_length_penalty finetuning_task forced_bos_token_id forced_eos_token_id
gradient_checkpointing hidden_dropout id2label init_std initializer_range
is_decoder is_llama_config keys_to_ignore_at_inference label2id layerdrop
length_penalty loss_type mask_token_id max_length max_new_tokens max_sequence_length
min_length min_p model_max_length model_type n_ctx no_repeat_ngram_size num_beam_groups num_beams
num_labels num_return_sequences output_attentions output_hidden_states output_router_logits
output_scores pad_token pad_token_id prefix pretraining_tp problem_type remove_invalid_values
reorder_and_upcast_attn repetition_penalty resid_pdrop return_dict return_dict_in_generate
sep_token_id seq_length summary_activation summary_first_dropout
summary_proj_to_labels summary_type summary_use_proj suppress_tokens task_specific_params
temperature tf_legacy_loss tie_encoder_decoder tokenizer_class top_k top_p torch_dtype torchscript
transformers.js_config transformers_version typical_p unk_token_id unsloth_fixed unsloth_version
use_bfloat16 use_cache
"""
#: Fields of training, generation, storage and bookkeeping that need no note.
USUAL = frozenset(_USUAL.split())
#: Values of an ignored field that need no note where ``False`` is not its neutral value.
_OFF: Mapping[str, tuple[object, ...]] = {
    "full_attn_mod": (1,),
    "interpolate_factor": (1,),
    "pruned_heads": ({},),
}


def switches(family: str) -> Switches:
    """Return the fields that a model of the family reads, with the values that change nothing."""
    rotary = {} if family in _WITHOUT_ROTARY else _ROTARY
    return {**_COMMON, **rotary, **_OWN.get(family, {})}


def ignored_notes(family: str, fields: Mapping[str, object]) -> tuple[str, ...]:
    """Return what to say of fields that are ignored.

    Examples
    --------
    >>> ignored_notes("llama", {"use_cache": True, "use_mrope": False})
    ()
    >>> ignored_notes("llama", {"use_alibi": True})
    ('Fields of config.json that a llama model does not read are ignored: use_alibi.',)
    """
    rest = [
        n for n, value in fields.items() if n not in USUAL and value not in _OFF.get(n, (False,))
    ]
    notes = []
    if "auto_map" in rest:
        rest.remove("auto_map")
        notes.append(
            "config.json names code of its own (auto_map), which is not run; the model is computed "
            f"as transformers computes the family {family}."
        )
    if rest:
        notes.append(
            f"Fields of config.json that a {family} model does not read are ignored: "
            f"{', '.join(rest)}."
        )
    return tuple(notes)
