"""Linear algebra: numpy.linalg."""
