"""Functions of neural networks, fused where a benchmark says so."""
