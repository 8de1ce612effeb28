"""Measures of embeddings under instructions."""
