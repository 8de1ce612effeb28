"""What an instruction does to one query: categories, what moved, filters, a map.

    from instruct_embeddings.explain import explain

The map needs matplotlib and scikit-learn (extra `eval`).
"""

from instruct_embeddings.explain.compare import explain
from instruct_embeddings.explain.explanation import Explanation

__all__ = ["Explanation", "explain"]
