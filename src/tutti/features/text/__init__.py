"""Chat, completions, embeddings, rerank."""
