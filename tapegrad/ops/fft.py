"""Discrete Fourier transforms: numpy.fft."""
