"""Special functions: NumPy's own, and SciPy's ufuncs where SciPy is installed."""
