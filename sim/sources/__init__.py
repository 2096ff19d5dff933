"""Where models come from: a directory, a GGUF file, the embedded model, a fetched one, a hub."""
