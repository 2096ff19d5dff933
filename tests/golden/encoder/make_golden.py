"""Freeze what transformers computes for encoders; needs the extra ``goldens``.

``python tests/golden/encoder/make_golden.py`` writes a small random BERT with its embeddings, and
the embeddings of all-MiniLM-L6-v2 for some sentences, which must be fetched before.
"""

from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file

from sim.sources.fetch import checked_path
from sim.sources.known import ALL_MINILM_L6_V2

HERE = Path(__file__).parent
SHAPE = {
    "vocab_size": 50,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "max_position_embeddings": 16,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
    "type_vocab_size": 2,
    "attn_implementation": "eager",
}
SENTENCES = [
    "The quick brown fox jumps over the lazy dog.",
    "A fast auburn fox leapt across a sleepy hound.",
    "Interest rates rose by a quarter of a point on Tuesday.",
]
VERSIONS = {"transformers": transformers.__version__, "torch": torch.__version__}


def mean_pooled(model, tokens, mask):
    with torch.inference_mode():
        hidden = model(input_ids=tokens, attention_mask=mask).last_hidden_state
    weights = mask[..., None].float()
    mean = (hidden * weights).sum(1) / weights.sum(1)
    return torch.nn.functional.normalize(mean, dim=-1).numpy()


def main():
    torch.manual_seed(0)
    model = transformers.BertModel(transformers.BertConfig(**SHAPE), add_pooling_layer=False).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    tokens = torch.randint(0, SHAPE["vocab_size"], (4, 12))
    mask = (torch.arange(12) < torch.tensor([12, 7, 3, 1])[:, None]).long()
    tensors = {f"model.{n}": t.detach().numpy().copy() for n, t in model.named_parameters()}
    tensors |= {
        "tokens": tokens.numpy().astype(np.int32),
        "mask": mask.numpy().astype(bool),
        "embeddings": mean_pooled(model, tokens, mask),
    }
    save_file(tensors, HERE / "random.safetensors", metadata=VERSIONS)

    directory = checked_path(ALL_MINILM_L6_V2).parent
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(directory / "tokenizer.json"), pad_token="[PAD]"
    )
    given = tokenizer(SENTENCES, padding=True, return_tensors="pt")
    minilm = transformers.BertModel.from_pretrained(directory, attn_implementation="eager").eval()
    embeddings = mean_pooled(minilm, given["input_ids"], given["attention_mask"])
    save_file({"embeddings": embeddings}, HERE / "minilm.safetensors", metadata=VERSIONS)


if __name__ == "__main__":
    main()
