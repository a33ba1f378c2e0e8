"""Benchmarks of tapegrad beside the same arithmetic without it, and beside its peers: `python -m benchmarks --help`."""

import os


def set_threads(threads: int) -> None:
    """Set the number of threads in the environment, which libraries read when they are imported."""
    for name in ("OMP", "OPENBLAS", "MKL", "BLIS", "VECLIB_MAXIMUM", "NUMEXPR"):
        os.environ[f"{name}_NUM_THREADS"] = str(threads)
    os.environ["NPROC"] = str(threads)
    os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}"
    os.environ["JAX_PLATFORMS"] = "cpu"
