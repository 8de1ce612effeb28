"""Texts as they were embedded: LlamaIndex puts a node's metadata in front of them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from instruct_embeddings._types import Metadata

_NODE = "_node_content"


def embedded_texts(
    texts: Sequence[str | None], metadatas: Sequence[Metadata]
) -> tuple[str | None, ...]:
    """What was embedded for each row; empty where that is the stored text of all of them."""
    if not any(_NODE in metadata for metadata in metadatas):
        return ()
    pairs = zip(texts, metadatas, strict=True)
    return tuple(text and embedded_text(text, metadata) for text, metadata in pairs)


def embedded_text(text: str, metadata: Metadata) -> str:
    """The content of a LlamaIndex node in the mode EMBED; the text itself of any other row.

    LlamaIndex need not be installed. Templates are filled in by replacement: as format strings,
    stored ones could reach into objects.
    """
    node = _node(metadata.get(_NODE))
    own, excluded = node.get("metadata"), node.get("excluded_embed_metadata_keys")
    if not isinstance(own, Mapping):
        return text
    left_out = set(map(str, excluded)) if isinstance(excluded, list) else set()
    line = _string(node, "metadata_template", "{key}: {value}")
    lines = [
        _filled(line, key=str(key), value=str(value))
        for key, value in own.items()
        if key not in left_out
    ]
    # Of a `Document` the separator has this older name.
    joined = _string(node, "metadata_separator", _string(node, "metadata_seperator", "\n"))
    header = joined.join(lines).strip()
    if not header:
        return text
    template = _string(node, "text_template", "{metadata_str}\n\n{content}")
    return _filled(template, metadata_str=header, content=text).strip()


def _node(content: object) -> Mapping[str, Any]:
    if not isinstance(content, str):
        return {}
    try:
        node = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return node if isinstance(node, Mapping) else {}


def _string(node: Mapping[str, Any], name: str, otherwise: str) -> str:
    value = node.get(name)
    return value if isinstance(value, str) else otherwise


def _filled(template: str, **values: str) -> str:
    """Each `{name}` replaced once, from left to right; what is put in is not looked at again."""
    filled, rest = [], template
    while rest:
        found = {rest.find(f"{{{name}}}"): name for name in values}
        places = sorted(place for place in found if place >= 0)
        if not places:
            break
        name = found[places[0]]
        filled += [rest[: places[0]], values[name]]
        rest = rest[places[0] + len(name) + 2 :]
    return "".join([*filled, rest])
