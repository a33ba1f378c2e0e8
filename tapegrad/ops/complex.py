"""Complex numbers: parts, conjugates, angles."""
