"""Functions that are only combinations of ops."""
