"""The composition root: opens everything, wires it together, closes it."""
