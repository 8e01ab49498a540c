"""Problems, and the verified training rows that are made from them."""
