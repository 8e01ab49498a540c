"""Problems, and the training rows that are made from them and verified with the solver."""
