"""Texts as they were embedded: LlamaIndex puts a node's metadata in front of them."""

import re
from collections.abc import Mapping
from typing import Any

from instruct_embeddings._reading import parse_json
from instruct_embeddings._types import Metadata

# Marks the rows that are nodes of LlamaIndex.
NODE_KEY = "_node_content"
# Stored templates that are longer or fill in more are nobody's, and would make texts of any size.
_LONGEST, _MOST_MARKS = 1000, 8
# No text grows by more than this beyond what is stored of its row: templates may repeat it.
ROOM = 20_000


def embedded_text(text: str, metadata: Metadata) -> str:
    """The content of a LlamaIndex node in the mode EMBED; the text itself of any other row.

    LlamaIndex, which marks its rows in every store, need not be installed. Templates are filled in
    by replacement: as format strings, stored ones could reach into objects.
    """
    try:
        node = parse_json(str(metadata.get(NODE_KEY)), halves=True)
    except ValueError:
        return text
    own = node.get("metadata") if isinstance(node, Mapping) else None
    if not isinstance(own, Mapping):
        return text
    excluded = node.get("excluded_embed_metadata_keys")
    left_out = set(map(str, excluded)) if isinstance(excluded, list) else set()
    line = _template(node, "metadata_template", "{key}: {value}")
    # Of a `Document` the separator has this older name.
    between = _template(node, "metadata_separator", _template(node, "metadata_seperator", "\n"))
    shown = {key: str(value) for key, value in own.items() if key not in left_out}
    most = ROOM + len(text) + len(str(metadata[NODE_KEY]))
    header = between.join(_filled(line, key=key, value=shown[key]) for key in shown)[:most].strip()
    if not header:
        return text
    whole = _template(node, "text_template", "{metadata_str}\n\n{content}")
    return _filled(whole, metadata_str=header, content=text)[:most].strip()


def _template(node: Mapping[str, Any], name: str, otherwise: str) -> str:
    value = node.get(name)
    if not isinstance(value, str) or len(value) > _LONGEST or value.count("{") > _MOST_MARKS:
        return otherwise
    return value


def _filled(template: str, **values: str) -> str:
    """Each `{name}` replaced; what is put in is not looked at again."""
    marks = "|".join(rf"\{{{name}\}}" for name in values)
    return re.sub(marks, lambda mark: values[mark[0][1:-1]], template)
