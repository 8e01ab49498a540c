"""What the notebooks show, and the runner that executes them."""
