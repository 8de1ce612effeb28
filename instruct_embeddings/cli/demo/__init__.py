"""`demo`: the whole product on a small corpus, or on one of the user's own."""
