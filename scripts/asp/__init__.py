"""Answer set programming: clingo's parser, the sandboxed solver, its messages, and the grammar of a step."""
