"""The page itself: fields, buttons and sliders of Gradio around a session."""

import logging
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import typer

from instruct_embeddings._extras import require
from instruct_embeddings._printable import safe_message
from instruct_embeddings.cli.page.asked import Asked, read_pasted, read_uploaded
from instruct_embeddings.cli.page.code import langchain_code, llama_index_code
from instruct_embeddings.cli.page.html import (
    CSS,
    READ_POINT,
    error_html,
    map_html,
    rankings_html,
    report_html,
    shown,
)
from instruct_embeddings.cli.page.session import Session
from instruct_embeddings.errors import InstructEmbeddingsError
from instruct_embeddings.retrieval import FitEvent

_MOST_RESULTS = 50
_ASK = "Ask first: write a query and an instruction."
_QUESTIONS = "how do I get my money back | ticket-17, ticket-3"
_log = logging.getLogger(__name__)


def build(
    session: Session, *, address: str, collection: str, query: str = "", instruction: str = ""
) -> Any:
    """The page over one collection, as `Blocks` of Gradio; the first fields may be filled in.

    Raises:
        MissingExtraError: Gradio is not installed.
    """
    gr: Any = require("gradio", extra="ui")
    folder = str(session.transforms.path)
    where = {"address": address, "collection": collection, "folder": folder}

    def code(asked: Asked) -> tuple[str, str]:
        known = where | {"model": session.model}
        return langchain_code(asked, **known), llama_index_code(asked, **known)

    @_shown(3)
    def ask(*fields: Any) -> tuple[str, ...]:
        asked = Asked.of(*fields)
        return rankings_html(session.rank(asked), asked.k), *code(asked)

    @_shown(2)
    def describe(*fields: Any) -> tuple[str, ...]:
        asked = Asked.of(*fields)
        found = session.explain(asked)
        return "".join(map(map_html, found)), report_html([str(one) for one in found])

    @_shown(1)
    def fit(*fields: Any, progress: Any = gr.Progress()) -> tuple[str, ...]:  # noqa: B008
        asked = Asked.of(*fields)

        def show(event: FitEvent) -> None:
            progress((event.done, event.total), desc=event.stage)

        return (report_html([str(one) for one in session.fit(asked, show)]),)

    @_shown(1)
    def measure(pasted: str, file: str | None, *fields: Any) -> tuple[str, ...]:
        questions = read_uploaded(Path(file)) if file else read_pasted(pasted)
        _, *others = fields
        asked = Asked.of("-", *others)  # the questions are asked, not the query of the page
        reports = session.measure(asked, questions)
        return (report_html([f"By the {name}\n{report}" for name, report in reports]),)

    with gr.Blocks(title="instruct-embeddings", analytics_enabled=False) as page:
        gr.HTML(f"<h3>{shown(collection)}: one query, another question</h3>")
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                text = gr.Textbox(query, label="Query", lines=2, elem_id="query")
                first = gr.Textbox(
                    instruction,
                    label="Instruction",
                    placeholder="What kind of problem is reported?",
                    elem_id="instruction",
                )
                second = gr.Textbox(
                    label="Second instruction, or a constraint",
                    placeholder="Only angry customers.",
                    elem_id="second",
                )
                share = gr.Slider(
                    0.05, 0.95, 0.5, step=0.05, label="Weight of the second", elem_id="share"
                )
                filters = gr.Textbox(
                    label="Filter on metadata",
                    placeholder="area = billing",
                    lines=2,
                    elem_id="where",
                )
                blend = gr.Slider(
                    0, 1, 1, step=0.05, label="Blend: 0 generic, 1 adapted", elem_id="blend"
                )
                k = gr.Slider(1, _MOST_RESULTS, 10, step=1, label="Results", elem_id="k")
                judged = gr.Checkbox(False, label="Let a judge read the results", elem_id="judged")
                with gr.Row():
                    asking = gr.Button("Ask", variant="primary", min_width=100, elem_id="ask")
                    fitting = gr.Button("Fit", min_width=100, elem_id="fit")
                fitted = gr.HTML(elem_id="fitted")
            with gr.Column(scale=3), gr.Tabs():
                with gr.Tab("Rankings"):
                    rankings = gr.HTML(f"<p>{_ASK}</p>", elem_id="rankings")
                with gr.Tab("Map"):
                    picture = gr.HTML(elem_id="map", js_on_load=READ_POINT)
                with gr.Tab("Report"):
                    report = gr.HTML(elem_id="report")
                with gr.Tab("Measure on my questions"):
                    pasted = gr.Textbox(
                        label="A question, |, and the ids of the rows that answer it; one a line",
                        placeholder=_QUESTIONS,
                        lines=6,
                        elem_id="questions",
                    )
                    file = gr.File(
                        label="Or a file: JSONL, CSV, or such lines",
                        type="filepath",
                        elem_id="upload",
                    )
                    measuring = gr.Button("Measure on my questions", elem_id="measure")
                    measured = gr.HTML(elem_id="measured")
                with gr.Tab("Copy as Python"):
                    langchain = gr.Code(language="python", label="LangChain", elem_id="langchain")
                    llama = gr.Code(language="python", label="LlamaIndex", elem_id="llama")

        fields = [text, first, second, share, filters, k, blend, judged]
        answers, described = [rankings, langchain, llama], [picture, report]
        at_once = {"queue": False, "show_progress": "hidden"}
        for event in (asking.click, text.submit, first.submit, second.submit, filters.submit):
            event(ask, fields, answers, **at_once).then(describe, fields, described)
        for slider in (share, k, blend):
            slider.change(ask, fields, answers, trigger_mode="always_last", **at_once)
        judged.change(ask, fields, answers, show_progress="hidden")
        refitted = fitting.click(fit, fields, fitted)
        refitted.then(ask, fields, answers, **at_once).then(describe, fields, described)
        measuring.click(measure, [pasted, file, *fields], measured)
        if query:
            page.load(ask, fields, answers, **at_once).then(describe, fields, described)
    return page


def launch(page: Any, *, host: str, port: int | None, browser: bool) -> str:
    """Serve the page to this machine and return its address; nothing is loaded from elsewhere."""
    gr: Any = require("gradio", extra="ui")
    system = ["system-ui", "sans-serif"]
    # What environment variables could turn on is turned off: no tunnel, no server of tools.
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        inbrowser=browser,
        share=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        prevent_thread_lock=True,
        quiet=True,
        footer_links=[],
        theme=gr.themes.Base(font=system, font_mono=["ui-monospace", "monospace"]),
        css=CSS,
    )
    return str(address)


def _shown(outputs: int) -> Callable[[Callable[..., Sequence[str]]], Callable[..., Any]]:
    """Errors become a message in the first output, the others are emptied."""

    def decorate(function: Callable[..., Sequence[str]]) -> Callable[..., Any]:
        @wraps(function)
        def run(*values: Any, **named: Any) -> Any:
            try:
                found = function(*values, **named)
            except (InstructEmbeddingsError, OSError, typer.BadParameter) as exc:
                found = [error_html(str(exc)), *[""] * (outputs - 1)]
            except Exception as exc:
                _log.exception("The page could not answer")
                message = f"{safe_message(exc)}. This is a fault of the page; its log says more."
                found = [error_html(message), *[""] * (outputs - 1)]
            return found[0] if outputs == 1 else tuple(found)

        return run

    return decorate
