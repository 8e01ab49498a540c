"""The language model: prompts, chat templates, base models and the device."""
