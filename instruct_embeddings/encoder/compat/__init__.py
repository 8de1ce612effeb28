"""Models of sentence-transformers and transformers: read so that embeddings are the same."""
