"""What holds for every test: no model hub, no tracing service, no telemetry, one torch thread."""

import os

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["LANGSMITH_TRACING"] = "false"
os.environ["LANGCHAIN_TRACING_V2"] = "false"
os.environ["ANONYMIZED_TELEMETRY"] = "False"
# The networks of tests are tiny; on a busy machine, threads that wait for each other make a fit
# many times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process, whatever other tests have left to the garbage collector."""
    from instruct_embeddings.encoder import model_cache

    monkeypatch.setattr(model_cache, "models", model_cache.ModelCache())


@pytest.fixture
def tiny_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny models in place of those in the box and of their backbone."""
    from instruct_embeddings.encoder import files
    from tests.models import in_the_box, tiny

    monkeypatch.setattr(files, "_shipped", in_the_box)
    monkeypatch.setattr(files, "_packaged", lambda: tiny("bert"))
