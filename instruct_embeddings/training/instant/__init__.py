"""Training of the instant query: it ranks frozen generic vectors under many instructions.

```text
sets     labelled texts and retrieval sets, with their frozen vectors
words    the instructions: wordings of relations and aspects, plain ones, constraints
draws    a group of queries, its instructions and its right documents, by seed
loss     pure functions on moves, queries and documents
network  the encoder with its head, as torch trains them
run      the loop, its checkpoints and its log
```
"""
