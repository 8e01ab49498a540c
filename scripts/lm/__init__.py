"""A language model: its prompts, chat template, base weights and device."""
