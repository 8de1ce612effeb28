"""What the page asks, as Python for LangChain and LlamaIndex."""

from collections.abc import Mapping
from typing import Any

from instruct_embeddings._addresses import is_server, place_of, scheme_of
from instruct_embeddings.cli.page.asked import Asked

_WIDTH = 88


def langchain_code(asked: Asked, *, address: str, collection: str, model: str, folder: str) -> str:
    """A retriever of LangChain that answers as the page does.

    Args:
        asked: What is asked.
        address: Of the store, without passwords.
        collection: Name of the collection.
        model: Name of the model that filled it.
        folder: Of the fitted transforms.
    """
    arguments: dict[str, Any] = {"k": asked.k}
    if asked.weights:
        arguments |= {"instruction": asked.instruction, "blend": asked.blend}
    if asked.where is not None:
        arguments["filter"] = asked.where
    embeddings = f"embeddings = {_call('InstructEmbeddings', {'model': model})}"
    own = "from langchain_instruct_embeddings import InstructEmbeddings, "
    own += "InstructionTransformRetriever"
    if scheme_of(address) == "chroma" and not is_server(address):
        made = {"embedding_function": "embeddings", "persist_directory": repr(place_of(address))}
        chroma = f"chroma = {_raw('Chroma', made, repr(collection))}"
        head = ["from langchain_chroma import Chroma", own, "", embeddings, chroma]
        store = {"vectorstore": "chroma"}
    else:
        # Any store of LangChain that knows the model does; rows are read by the address.
        head = [
            "from instruct_embeddings.stores import open_store",
            "from langchain_core.vectorstores import InMemoryVectorStore",
            *(own, "", embeddings),
        ]
        store = {
            "vectorstore": "InMemoryVectorStore(embeddings)",
            "collection": f"open_store({address!r}, {collection!r})",
        }
    settings = store | _settings(asked, folder)
    return "\n".join(
        [
            *head,
            f"retriever = {_raw('InstructionTransformRetriever', settings)}",
            f"documents = {_call('retriever.invoke', arguments, repr(asked.query))}",
            "for document in documents:",
            "    print(document.page_content)",
        ]
    )


def llama_index_code(
    asked: Asked, *, address: str, collection: str, model: str, folder: str
) -> str:
    """A retriever of LlamaIndex that answers as the page does; arguments as above."""
    settings = {
        "vector_store": f"open_store({address!r}, {collection!r})",
        "embed_model": _call("InstructEmbedding", {"model_name": model}),
        "similarity_top_k": repr(asked.k),
    }
    if asked.weights:
        settings |= {"instruction": repr(asked.instruction), "blend": repr(asked.blend)}
    if asked.where is not None:
        settings["filters"] = repr(asked.where)
    settings |= _settings(asked, folder)
    return "\n".join(
        [
            "from instruct_embeddings.stores import open_store",
            "from llama_index_instruct_embeddings import (",
            "    InstructEmbedding,",
            "    InstructionTransformRetriever,",
            ")",
            "",
            f"retriever = {_raw('InstructionTransformRetriever', settings)}",
            f"nodes = retriever.retrieve({asked.query!r})",
            "for node in nodes:",
            "    print(node.score, node.text)",
        ]
    )


def _settings(asked: Asked, folder: str) -> dict[str, str]:
    return {"store": repr(folder)} | ({"feedback": "True"} if asked.judged else {})


def _call(name: str, values: Mapping[str, Any], *first: str) -> str:
    return _raw(name, {key: repr(value) for key, value in values.items()}, *first)


def _raw(name: str, code: Mapping[str, str], *first: str) -> str:
    """A call, on one line where it is short."""
    parts = [*first, *(f"{key}={value}" for key, value in code.items())]
    line = f"{name}({', '.join(parts)})"
    if len(line) <= _WIDTH and "\n" not in line:
        return line
    inner = "".join(f"    {part},\n" for part in (one.replace("\n", "\n    ") for one in parts))
    return f"{name}(\n{inner})"
