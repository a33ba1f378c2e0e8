"""Joining, splitting and repeating arrays."""
