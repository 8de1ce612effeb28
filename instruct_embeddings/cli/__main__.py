"""`python -m instruct_embeddings.cli`."""

from instruct_embeddings.cli import main

main()
