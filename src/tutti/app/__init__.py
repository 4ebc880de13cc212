"""The composition root: it opens everything, wires it together, and closes it."""
