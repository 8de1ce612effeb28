"""Training data: files of examples, read once; texts are read back when a batch is drawn."""
