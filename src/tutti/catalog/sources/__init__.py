"""Sources of a model's files: a module for each kind of source, and `partial`, which writes the files of
all."""
