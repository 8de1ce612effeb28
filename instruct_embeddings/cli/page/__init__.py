"""The page of `instruct-embeddings ui`: what it asks, shows and is made of."""
