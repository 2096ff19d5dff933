"""Models from the Hugging Face hub, through the optional huggingface_hub library."""

from pathlib import Path

from sim.errors import UserError, os_error_text

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
            f"{model_id!r} is not a file or directory here; to use it as a hub id, install the "
            f"extra: pip install 'qsim-codesign[hub]'"
        ) from None
    try:
        return Path(snapshot_download(model_id, allow_patterns=list(PATTERNS)))
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise UserError(
            f"{model_id!r} is not a file or directory here, and the hub can't provide it: "
            f"{_reason(error)}"
        ) from None


def _reason(error: Exception) -> str:
    """Return why the hub gives no files, and what helps, in words of its own."""
    from huggingface_hub import errors

    match error:
        case errors.GatedRepoError():
            return "access is restricted; accept its terms there, and log in with 'hf auth login'"
        case errors.RepositoryNotFoundError():
            return "it has no such model, or a private one; check the id, or log in"
        case errors.HFValidationError():
            return "this is not a valid id; ids look like owner/name"
        case errors.OfflineModeIsEnabled():
            return "offline mode is on; unset HF_HUB_OFFLINE, or give a local directory"
        case errors.HfHubHTTPError() if (response := getattr(error, "response", None)) is not None:
            return f"it answers with HTTP status {response.status_code}; try again later"
        case OSError() if error.errno is not None:
            return os_error_text(error)
        case _:
            return "it can't be reached; check the network, or give a local directory"
