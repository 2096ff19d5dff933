"""Models from the Hugging Face hub, through the optional huggingface_hub library."""

from pathlib import Path

from sim.errors import UserError

#: Patterns of the files that are read; none of them holds code.
PATTERNS = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "added_tokens.json",
    "special_tokens_map.json",
    "*.safetensors",
    "*.safetensors.index.json",
)


def download_snapshot(model_id: str) -> Path:
    """Return the directory of a model by its hub id, downloading what its cache lacks."""
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError:
        raise UserError(
            f"{model_id!r} is not a file or directory; to use it as a hub id, install the extra: "
            "pip install 'qsim-codesign[hub]'"
        ) from None
    try:
        return Path(snapshot_download(model_id, allow_patterns=list(PATTERNS)))
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"{model_id!r} is not a file or directory, and the hub can't provide it: "
            f"{reason[0]:.200}; check the id and the network, or give a local directory"
        ) from None
