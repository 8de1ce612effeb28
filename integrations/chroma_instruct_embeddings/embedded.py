"""Texts as they were embedded: LlamaIndex puts a node's metadata in front of them."""

import re
from collections.abc import Mapping
from typing import Any

from instruct_embeddings._reading import parse_json
from instruct_embeddings._types import Metadata

# Marks the rows that are nodes of LlamaIndex.
NODE_KEY = "_node_content"
# No text grows by more than this beyond what is stored of its row: templates are stored too, and
# may repeat a text any number of times. What stands so far behind is read by no model.
ROOM = 20_000


def embedded_text(text: str, metadata: Metadata) -> str:
    """The content of a LlamaIndex node in the mode EMBED; the text itself of any other row.

    LlamaIndex need not be installed. Templates are filled in by replacement: as format strings,
    stored ones could reach into objects.
    """
    content = metadata.get(NODE_KEY)
    node = _node(content)
    own, excluded = node.get("metadata"), node.get("excluded_embed_metadata_keys")
    if not isinstance(own, Mapping):
        return text
    most = ROOM + len(text) + len(str(content))
    left_out = set(map(str, excluded)) if isinstance(excluded, list) else set()
    header = _header(node, {key: own[key] for key in own if key not in left_out}, most)
    if not header:
        return text
    template = _string(node, "text_template", "{metadata_str}\n\n{content}")
    return _filled(template, most, metadata_str=header, content=text).strip()


def _header(node: Mapping[str, Any], own: Mapping[str, Any], most: int) -> str:
    """One line for each key."""
    template = _string(node, "metadata_template", "{key}: {value}")
    # Of a `Document` the separator has this older name.
    between = _string(node, "metadata_separator", _string(node, "metadata_seperator", "\n"))
    lines, length = [], 0
    for key, value in own.items():
        lines.append(_filled(template, most, key=str(key), value=str(value)))
        length += len(lines[-1]) + len(between)
        if length > most:
            break
    return between.join(lines)[:most].strip()


def _node(content: object) -> Mapping[str, Any]:
    if not isinstance(content, str):
        return {}
    try:
        node = parse_json(content, halves=True)
    except ValueError:
        return {}
    return node if isinstance(node, Mapping) else {}


def _string(node: Mapping[str, Any], name: str, otherwise: str) -> str:
    value = node.get(name)
    return value if isinstance(value, str) else otherwise


def _filled(template: str, most: int, **values: str) -> str:
    """Each `{name}` replaced once, from left to right; what is put in is not looked at again.

    No further mark is filled in than the first `most` characters need, to which the rest is cut.
    """
    filled, length, place = [], 0, 0
    for mark in re.finditer("|".join(rf"\{{{name}\}}" for name in values), template):
        filled += [template[place : mark.start()], values[mark[0][1:-1]]]
        length += len(filled[-2]) + len(filled[-1])
        place = mark.end()
        if length > most:
            break
    return "".join([*filled, template[place:]])[:most]
