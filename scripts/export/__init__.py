"""Fused models, adapters and GGUF files for other programs."""
