"""Answer set programming: clingo's parser, the sandboxed solver, its messages, the grammar."""
