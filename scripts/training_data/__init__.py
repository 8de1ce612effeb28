"""How public data sets become training files; used by prepare_training_data.py."""
