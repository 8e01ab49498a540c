"""Export: fused models with their model cards, and GGUF files with their Modelfiles."""
