"""Where a model's files come from: a file for each kind of source, and `partial`, which writes them all."""
