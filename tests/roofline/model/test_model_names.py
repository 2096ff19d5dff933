"""Names of models, as people and tables write them."""

import pytest

from roofline.model.model_names import find_model, known_model


@pytest.mark.parametrize(
    "text,params,name",
    [
        ("meta-llama/Llama-2-7b-chat-hf", None, "llama-2-7b"),
        ("LLaMA 3 8B Instruct", 8.03e9, "llama-3-8b"),
        ("Llama-3.3-70B-Instruct", None, "llama-3.3-70b"),
        ("Mistral-7B-Instruct-v0.3", None, "mistral-7b-v0.3"),
        ("Qwen2.5-0.5B", None, "qwen2.5-0.5b"),
        ("gemma-3-27b-it", None, "gemma-3-27b"),
        ("Qwen3-30B-A3B", None, "qwen3-30b-a3b"),
        ("BitNet-3B", 3.3e9, "bitnet-b1.58-3b"),
        ("bitnet_b1_58-3B", 3.3e9, "bitnet-b1.58-3b"),
        ("dummy-3.8B", 3.8e9, None),
        ("DeepSeek R1 671b", None, "deepseek-v3"),
        ("deepseek_r1", None, "deepseek-v3"),
        ("DeepSeek R1 Distill Qwen 7B", None, "qwen2.5-7b"),
        ("deepseek-r1:8b", None, "llama-3.1-8b"),
        ("Mistral-Nemo-Instruct-2407", None, "mistral-nemo-12b"),
        ("mistralai/Mistral-Large-Instruct-2411", None, "mistral-large-123b"),
        ("Qwen3-30B-A3B-Instruct-2507", None, "qwen3-30b-a3b"),
        ("nvidia/Llama-3.3-70B-Instruct-FP4", None, "llama-3.3-70b"),
        # Ambiguous size; unknown model of a known family; size that contradicts the name.
        ("Mixtral-Instruct", None, None),
        ("Command-R-Plus", None, None),
        ("llama-2-7b", 70e9, "llama-2-70b"),
    ],
)
def test_models_are_named_freely(text, params, name):
    found = find_model(text, params=params)
    assert (found and found.name) == name


def test_unknown_models_are_suggested():
    with pytest.raises(ValueError, match=r"did you mean 'llama-3\.1-8b'"):
        known_model("lama-3.1-8bb")


@pytest.mark.parametrize(
    "text,params,name",
    [
        ("llama 70B", 70.55e9, "llama-3.1-70b"),
        ("llama 70B", 68.98e9, "llama-2-70b"),
        ("llama 8B", 8.03e9, "llama-3.1-8b"),
        ("llama 7B", 6.74e9, "llama-7b"),
        ("DeepSeek-R1", 671e9, "deepseek-v3"),
        ("DeepSeek-R1-Distill-Qwen-7B", 7.6e9, "qwen2.5-7b"),
        ("DeepSeek-R1-Distill-Llama-8B", 8.03e9, "llama-3.1-8b"),
        ("phi3 3B", 3.82e9, "phi-3-mini"),
    ],
)
def test_names_of_models_in_tables(text, params, name):
    assert find_model(text, params=params).name == name
