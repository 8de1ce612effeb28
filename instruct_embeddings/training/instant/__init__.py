"""Training of the instant query: it ranks frozen generic vectors under many instructions.

```text
sets     labelled texts and retrieval sets, with their frozen vectors
draws    instructions by rules; a group of queries, its instructions and documents, by seed
network  the encoder with its head, as torch trains them, and the losses
run      the loop, on the optimiser, state and log of the encoder's training
```
"""
