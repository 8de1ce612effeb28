"""The README as a package index shows it, where links into the repository lead nowhere."""

import os
import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

# Address of the repository, such as https://host/owner/name; the one place where it is given.
VARIABLE = "PROJECT_URL"
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)]+)\)")


class CustomMetadataHook(MetadataHookInterface):
    """Called by hatchling at each build."""

    def update(self, metadata: dict[str, object]) -> None:
        """Set the long description."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        address = os.environ.get(VARIABLE, "")
        metadata["readme"] = {"content-type": "text/markdown", "text": alone(text, address)}


def alone(text: str, address: str) -> str:
    """Links made absolute; without an address pictures and links give way to their words."""

    def made(found: re.Match[str]) -> str:
        mark, words, target = found.groups()
        if not address:
            return f"*{words}*" if mark else words
        kind = "raw" if mark else "blob"
        return f"{mark}[{words}]({address.rstrip('/')}/{kind}/main/{target})"

    return _LINK.sub(made, text)
