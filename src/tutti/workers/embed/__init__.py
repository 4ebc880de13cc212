"""Sentence embeddings over HTTP, on onnxruntime. See `__main__`."""
