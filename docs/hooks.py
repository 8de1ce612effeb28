"""Brings pages of the repository that do not lie in `docs/` into the site.

The same Markdown is read on the site and in the repository, where links lead from file to file.
Here files of the list below become pages, notebooks included, and links to them lead to these
pages. Links to other files of the repository become plain text; links to what does not exist stay
as they are, so that a strict build fails.
"""

import json
import posixpath
import re
from base64 import b64decode
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "examples/README.md": "examples/index.md",
    "examples/data/README.md": "examples/data.md",
    "examples/serve/README.md": "examples/serve.md",
    "instruct_embeddings/weights/instruct-minilm-l6-v1/README.md": (
        "models/instruct-minilm-l6-v1.md"
    ),
    "instruct_embeddings/weights/instruct-minilm-l6-refine-v1/README.md": (
        "models/instruct-minilm-l6-refine-v1.md"
    ),
    "benchmarks/README.md": "benchmarks.md",
} | {
    f"examples/{notebook.name}": f"examples/{notebook.stem}.md"
    for notebook in sorted((ROOT / "examples").glob("*.ipynb"))
}
_SOURCES = {page: source for source, page in PAGES.items()}
_LINK = re.compile(r"(!?)\[([^\]]+)\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages, and the pictures of notebooks."""
    for source, page in PAGES.items():
        path = ROOT / source
        if path.suffix == ".ipynb":
            text, pictures = _notebook(path, posixpath.basename(page).removesuffix(".md"))
        else:
            text, pictures = path.read_text(encoding="utf-8"), {}
        files.append(File.generated(config, page, content=text))
        for name, data in pictures.items():
            files.append(File.generated(config, f"examples/{name}", content=data))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Let links lead to pages of the site, and pictures come from its files."""
    own = page.file.src_uri
    source = _SOURCES.get(own, f"docs/{own}")

    def leading(link: re.Match[str]) -> str:
        picture, text, target, anchor = link.groups()
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if file.startswith("docs/"):
            place = file.removeprefix("docs/")
        elif file in PAGES:
            place = PAGES[file]
        else:
            return text if (ROOT / file).exists() else link[0]
        place = posixpath.relpath(place, posixpath.dirname(own) or ".")
        return f"{picture}[{text}]({place}{anchor or ''})"

    return _LINK.sub(leading, markdown)


def _notebook(path: Path, name: str) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown, and its pictures by name."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                picture = f"{name}-{len(pictures) + 1}.png"
                pictures[picture] = b64decode("".join(data["image/png"]))
                parts.append(f"![Output of the code above]({picture})")
            elif text := "".join(output.get("text") or data.get("text/plain", "")):
                parts.append(f"```text\n{text.strip()}\n```")
    return "\n\n".join(parts) + "\n", pictures
