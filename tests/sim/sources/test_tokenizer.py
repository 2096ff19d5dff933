import json
import re
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import models

from sim.errors import UserError
from sim.sources.gguf_file import open_gguf
from sim.sources.gguf_tokenizer import PRE_TOKENIZERS
from sim.sources.hf_directory import open_directory
from sim.sources.tokenizer import Tokenizer, load_tokenizer

TEXT = "The theory of 1911: naïve café, 你好\r\n\n  \tI'll'S <|end|>  "


@pytest.fixture(scope="module")
def stored(tiny):
    """The tensors of a tiny Llama by GGUF's names."""
    raw = tiny.CONFIGS["llama"]
    config = tiny.config_from_hf(raw)
    return tiny.gguf_tensors("llama", config, tiny.random_tensors(config))


def gguf(tiny, tmp_path, stored, **options):
    path = tmp_path / "m.gguf"
    return open_gguf(tiny.write_gguf(path, "llama", tiny.CONFIGS["llama"], stored, **options))


@pytest.mark.parametrize("tag", list(PRE_TOKENIZERS))
def test_decoding_undoes_encoding(tiny, tmp_path, stored, tag):
    source = gguf(tiny, tmp_path, stored, tag=tag, edit=lambda w: w.add_bos_token_id(0))
    tokenizer = source.tokenizer()
    ids = tokenizer.encode(TEXT)
    assert ids.dtype == np.int32 and ids.ndim == 1
    assert tokenizer.decode(ids) == TEXT
    assert tokenizer.encode("").shape == (0,)


def test_the_tag_of_smollm_cuts_digits_apart(tiny, tmp_path, stored):
    smollm = gguf(tiny, tmp_path, stored, tag="smollm").tokenizer()
    assert smollm.encode("1911").size == 4
    gpt2 = gguf(tiny, tmp_path, stored, tag="gpt-2").tokenizer()
    assert gpt2.encode("1911").size == 3  # 1, 9 and the merged 11


def test_a_vocabulary_in_a_gguf_file_is_the_tokenizer_json_of_the_same_model(
    tiny, tmp_path, stored
):
    tiny.tiny_tokenizer().save(str(tmp_path / "tokenizer.json"))
    ours, theirs = gguf(tiny, tmp_path, stored).tokenizer(), load_tokenizer(tmp_path)
    assert ours.encode(TEXT).tolist() == theirs.encode(TEXT).tolist()
    assert ours.vocab_size == theirs.vocab_size == 261


def test_names_of_special_tokens_are_read_as_those_tokens(tiny, tmp_path, stored):
    assert gguf(tiny, tmp_path, stored).tokenizer().encode("<|end|>").tolist() == [260]


@pytest.mark.parametrize(
    ("tag", "flag", "expected"),
    [
        ("smollm", None, None),
        ("smollm", True, 7),
        ("smollm", False, None),
        ("llama-bpe", None, 7),
        ("llama-bpe", False, None),
    ],
)
def test_a_gguf_file_says_whether_an_input_begins_with_bos(
    tiny, tmp_path, stored, tag, flag, expected
):
    def edit(writer):
        writer.add_bos_token_id(7)
        if flag is not None:
            writer.add_add_bos_token(flag)

    tokenizer = gguf(tiny, tmp_path, stored, tag=tag, edit=edit).tokenizer()
    assert tokenizer.bos_id == expected
    assert tokenizer.encode("a").size == 1  # encoding itself adds nothing


def test_a_bos_that_is_not_in_the_vocabulary_is_refused(tiny, tmp_path, stored):
    source = gguf(tiny, tmp_path, stored, edit=lambda w: w.add_add_bos_token(True))
    message = f"^{source.path} asks for a BOS token, but names none of its vocabulary$"
    with pytest.raises(UserError, match=message):
        source.tokenizer()


GOLDEN = json.loads(
    (Path(__file__).parents[2] / "golden" / "tokenizers" / "cases.json").read_text()
)


@pytest.mark.parametrize("name", GOLDEN["cases"])
def test_a_directory_gives_the_ids_of_transformers(tmp_path, name):
    case = GOLDEN["cases"][name]
    files = case["files"] | {"tokenizer.json": GOLDEN["tokenizers"][case["tokenizer"]]}
    for file, content in files.items():
        (tmp_path / file).write_text(json.dumps(content))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.encode(GOLDEN["text"]).tolist() == case["ids"]
    after = [*tokenizer.prefix_ids, *case["ids"]]
    assert case["with_template"][: len(after)] == after


def test_bos_of_no_name_is_not_added(tiny, tmp_path):
    tiny.tiny_tokenizer().save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"add_bos_token": true, "bos_token": null}')
    assert load_tokenizer(tmp_path).bos_id is None


def test_a_token_that_the_model_has_no_row_for_is_refused_where_a_text_has_it(tiny, tmp_path):
    tiny.tiny_tokenizer().save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "added_tokens.json").write_text('{"<pad>": 261}')
    tokenizer = load_tokenizer(tmp_path).checked(261, tmp_path)
    assert tokenizer.vocab_size == tokenizer.backend.get_vocab_size() == 261
    assert tokenizer.encode("the<|end|>").tolist() == [83, 257, 260]
    message = (
        "^the text has the token '<pad>', which the model has no embedding of; remove it from the "
        "text, or from the files of the tokenizer$"
    )
    with pytest.raises(UserError, match=message):
        tokenizer.encode("the <pad>")
    assert load_tokenizer(tmp_path).checked(262, tmp_path).encode("<pad>").tolist() == [261]


@pytest.mark.parametrize(
    ("file", "content", "rule"),
    [
        ("tokenizer_config.json", {"added_tokens_decoder": []}, "added_tokens_decoder must be"),
        ("tokenizer_config.json", {"added_tokens_decoder": {"x": "a"}}, "added_tokens_decoder"),
        ("tokenizer_config.json", {"added_tokens_decoder": {"1": 5}}, "5 is not a token; a token"),
        ("tokenizer_config.json", {"pad_token": ["a"]}, "['a'] is not a token; a token is"),
        ("tokenizer_config.json", {"extra_special_tokens": 3}, "extra_special_tokens must be"),
        ("added_tokens.json", {"a": "1"}, "must be an object of ids by token"),
    ],
)
def test_damaged_settings_are_one_line(tiny, tmp_path, file, content, rule):
    tiny.tiny_tokenizer().save(str(tmp_path / "tokenizer.json"))
    (tmp_path / file).write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"^{tmp_path}/{file}:? {re.escape(rule)}.*$"):
        load_tokenizer(tmp_path)


TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [
        {"SpecialToken": {"id": "<|end|>", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
    ],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {"<|end|>": {"id": "<|end|>", "ids": [260], "tokens": ["<|end|>"]}},
}


@pytest.mark.parametrize(
    ("template", "config", "expected"),
    [
        (None, None, None),
        (TEMPLATE, None, 260),
        (TEMPLATE, {"add_bos_token": None}, 260),
        (TEMPLATE, {"add_bos_token": False}, None),
        (None, {"add_bos_token": True, "bos_token": "<|end|>"}, 260),
        (None, {"add_bos_token": True, "bos_token": {"content": "he"}}, 257),
    ],
)
def test_a_directory_says_whether_an_input_begins_with_bos(
    tiny, tmp_path, template, config, expected
):
    content = json.loads(tiny.tiny_tokenizer().to_str())
    (tmp_path / "tokenizer.json").write_text(json.dumps(content | {"post_processor": template}))
    if config is not None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.bos_id == expected
    assert tokenizer.encode("he").tolist() == [257]


def test_a_bos_that_the_tokenizer_lacks_is_refused(tiny, tmp_path):
    tiny.tiny_tokenizer().save(str(tmp_path / "tokenizer.json"))
    config = {"add_bos_token": True, "bos_token": "<s>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    message = (
        f"^{tmp_path}/tokenizer_config.json asks for a BOS token, but the tokenizer has no '<s>'$"
    )
    with pytest.raises(UserError, match=message):
        load_tokenizer(tmp_path)


def test_a_tokenizer_that_was_saved_truncating_does_not_truncate(tiny, tmp_path):
    tokenizer = tiny.tiny_tokenizer()
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    loaded = load_tokenizer(tmp_path)
    assert loaded.encode("abcdefghijk").size == 11
    assert loaded.encode("ab").size == 2


@pytest.mark.parametrize(("tokens", "rows"), [(100_015, 102_400), (64_400, 65_536)])
def test_padding_rows_of_real_models_are_accepted(tmp_path, tokens, rows):
    # Tokens and embedding rows of DeepSeek LLM 7B and of LFM2.
    model = models.WordLevel({str(i): i for i in range(tokens)}, "0")
    tokenizer = Tokenizer(tokenizers.Tokenizer(model))
    assert tokenizer.checked(rows, tmp_path) is tokenizer
    with pytest.raises(UserError, match="more than padding explains"):
        tokenizer.checked(2 * rows, tmp_path)


def test_a_tokenizer_must_fit_the_embedding(tiny, tmp_path):
    tiny.tiny_tokenizer().save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.checked(261, tmp_path) is tokenizer
    assert tokenizer.checked(261 + 1023, tmp_path) is tokenizer
    message = (
        f"^the tokenizer of {tmp_path} has ids up to 260, but the model embeds only 260 tokens; "
        "use the tokenizer that belongs to the model$"
    )
    with pytest.raises(UserError, match=message):
        tokenizer.checked(260, tmp_path)
    message = (
        f"^the tokenizer of {tmp_path} has 261 tokens, but the model embeds 1285, more than "
        "padding explains; use the tokenizer that belongs to the model$"
    )
    with pytest.raises(UserError, match=message):
        tokenizer.checked(1285, tmp_path)


def test_both_kinds_of_source_check_the_size(tiny, tmp_path, stored):
    raw = tiny.CONFIGS["llama"] | {"vocab_size": 200}
    config = tiny.config_from_hf(raw)
    tensors = tiny.random_tensors(config)
    tiny.write_directory(tmp_path / "hf", raw, tiny.raw_tensors(config, tensors))
    small = tiny.gguf_tensors("llama", config, tensors)
    for source in (open_directory(tmp_path / "hf"), gguf(tiny, tmp_path, small)):
        with pytest.raises(UserError, match="has ids up to 260, but the model embeds only 200"):
            source.tokenizer()


def test_a_missing_or_broken_tokenizer_is_one_line(tmp_path):
    message = (
        rf"^no tokenizer.json in {tmp_path}; save it there with the tokenizers library "
        r"\(Tokenizer.save\) or transformers \(save_pretrained of a fast tokenizer\)$"
    )
    with pytest.raises(UserError, match=message):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(
        UserError, match=f"^{tmp_path}/tokenizer.json is not a readable tokenizer: "
    ):
        load_tokenizer(tmp_path)


def test_an_unknown_tag_is_refused_unless_a_tokenizer_json_is_beside_the_file(
    tiny, tmp_path, stored
):
    source = gguf(tiny, tmp_path, stored, tag="tekken")
    message = (
        f"^{source.path} has the pre-tokenizer 'tekken'; known are {', '.join(PRE_TOKENIZERS)}; "
        "put the model's tokenizer.json beside the file instead$"
    )
    with pytest.raises(UserError, match=message):
        source.tokenizer()
    tiny.tiny_tokenizer().save(str(tmp_path / "tokenizer.json"))
    assert source.tokenizer().decode(source.tokenizer().encode(TEXT)) == TEXT


@pytest.mark.parametrize("kind", [2, 3, 4])
def test_unknown_control_and_user_defined_tokens_are_read_by_their_names(
    tiny, tmp_path, stored, kind
):
    types = np.ones(261, np.int32)
    types[258] = kind  # Ġthe
    tokens = [*tiny.byte_vocabulary()[0]]
    tokens[258] = "the<x>"
    source = with_metadata(tiny, tmp_path, stored, token_type=types, tokens=tokens, merges=["h e"])
    assert source.tokenizer().encode("the<x>").tolist() == [258]


def test_empty_tokens_have_names_of_their_own(tiny, tmp_path, stored):
    tokens, merges = tiny.byte_vocabulary()
    tokens = [*tokens, "", ""]
    types = np.ones(len(tokens), np.int32)
    raw = tiny.CONFIGS["llama"]
    source = with_metadata(tiny, tmp_path, stored, tokens=tokens, token_type=types, merges=merges)
    assert raw["vocab_size"] >= len(tokens)
    assert source.tokenizer().vocab_size == len(tokens)


def with_metadata(tiny, tmp_path, stored, **changes):
    """Return a source whose metadata is changed after reading."""
    source = gguf(tiny, tmp_path, stored)
    source.header.metadata.update({f"tokenizer.ggml.{k}": v for k, v in changes.items()})
    return source


BROKEN = {
    "kind": (
        {"model": "llama"},
        (
            r"PATH has a vocabulary of the kind 'llama'; only byte-level BPE \('gpt2'\) can be "
            "rebuilt from a GGUF file, so put the model's tokenizer.json beside it"
        ),
    ),
    "no tokens": ({"tokens": 3}, "PATH has no list of strings tokenizer.ggml.tokens"),
    "twice": ({"tokens": ["a", "a"]}, "PATH: tokenizer.ggml.tokens has a token twice"),
    "merge": ({"merges": ["abc"]}, "PATH: 'abc' is not a merge of two tokens"),
    "unknown merge": (
        {"merges": ["a bcd"]},
        (
            "PATH: merges don't fit the vocabulary: Error while initializing BPE: Token `bcd` out "
            "of vocabulary"
        ),
    ),
    "types": (
        {"token_type": np.ones(3, np.int32)},
        "PATH: tokenizer.ggml.token_type must have one entry a token",
    ),
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_a_broken_vocabulary_is_one_line(tiny, tmp_path, stored, name):
    changes, message = BROKEN[name]
    source = with_metadata(tiny, tmp_path, stored, **changes)
    with pytest.raises(UserError, match="^" + message.replace("PATH", str(source.path)) + "$"):
        source.tokenizer()
