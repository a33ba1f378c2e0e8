"""Programs that run and explain themselves: `python -m tapegrad.examples.NAME --help`."""
