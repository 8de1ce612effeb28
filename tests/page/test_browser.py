"""The page in a real browser: what a person sees, and what must not happen meanwhile."""

import json
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.page import picture
from tests.page.conftest import HOSTILE, PROBLEM, ROOT, TEXTS, Served, answered, serving

# A process with torch and Gradio starts in seconds, on a busy machine in a minute.
pytestmark = pytest.mark.timeout(300)
Ask = Callable[..., None]


def ids(page: Page, side: str) -> list[str]:
    found = page.locator(f"[data-side={side}] li").evaluate_all(
        "rows => rows.map(row => row.dataset.id)"
    )
    return list(found)


def test_rankings_stand_side_by_side_with_what_moved(page: Page, ask: Ask) -> None:
    ask(instruction=PROBLEM)
    assert [len(ids(page, side)) for side in ("generic", "instant", "fitted")] == [10, 10, 10]
    expect(page.locator("[data-side=generic] .ie-move")).to_have_count(0)
    expect(page.locator("[data-side=fitted] .ie-move")).to_have_count(10)
    fitted = page.inner_text("[data-side=fitted]")
    assert "precision@10" in fitted
    assert fitted.count("problem: lost data") == 10
    assert "▲" in fitted


def test_without_an_instruction_there_is_the_generic_ranking_alone(page: Page, ask: Ask) -> None:
    ask()
    expect(page.locator("[data-side]")).to_have_count(1)


def test_a_second_instruction_and_a_filter_take_part(page: Page, ask: Ask) -> None:
    length = len(TEXTS[1])
    where = f"problem = how-to\nlength = {length}"
    ask(instruction=PROBLEM, second="Only thank you.", where=where)
    for side in ("generic", "instant"):
        rows = page.locator(f"[data-side={side}] li").all_inner_texts()
        assert rows
        assert all("problem: how-to" in row and f"length: {length}" in row for row in rows)
    assert "Not fitted yet" in page.inner_text("[data-side=fitted]")


def test_texts_of_the_collection_are_shown_and_never_obeyed(page: Page, ask: Ask) -> None:
    ask(query=HOSTILE, instruction=PROBLEM)
    assert page.locator("[data-side=generic] .ie-text").first.inner_text() == HOSTILE
    page.get_by_role("tab", name="Map").click()
    page.wait_for_selector("#map circle")
    point = page.locator("#map circle[data-text^='printer <script>']").first
    point.dispatch_event("mouseover")
    expect(page.locator(".ie-read")).to_have_text(HOSTILE)
    page.get_by_role("tab", name="Report").click()
    page.wait_for_selector("#report pre")
    assert "<script>" in page.inner_text("#report")
    assert page.locator("#rankings script, #map script, #report script, #map img").count() == 0


def test_a_slider_is_answered_without_embedding_anything(
    page: Page, ask: Ask, served: Served
) -> None:
    ask(instruction=PROBLEM)
    fitted, embedded = page.inner_text("[data-side=fitted]"), served.embedded
    answered(page, lambda: page.locator("#blend input[type=range]").press("ArrowLeft"))
    assert page.inner_text("[data-side=fitted]") != fitted
    answered(page, lambda: page.locator("#k input[type=range]").press("ArrowRight"))
    assert len(ids(page, "fitted")) == 11
    assert served.embedded == embedded


def test_an_error_is_a_message_that_says_what_to_do(page: Page, ask: Ask) -> None:
    ask(instruction=PROBLEM, where='{"length": {"$gtt": 3}}')
    alert = page.locator("#rankings [role=alert]")
    expect(alert).to_contain_text("Unknown filter operator '$gtt'; known are")
    ask(instruction=PROBLEM, where="length")
    expect(alert).to_contain_text("Correct it, or leave it empty.")
    assert "Traceback" not in page.inner_text("body")


def test_the_map_has_a_point_for_each_row_and_reads_it(page: Page, ask: Ask) -> None:
    ask(instruction=PROBLEM)
    page.get_by_role("tab", name="Map").click()
    page.wait_for_selector("#map circle")
    expect(page.locator("#map circle[data-text]")).to_have_count(2 * len(TEXTS))
    assert "coloured by true label (problem)" in page.inner_text("#map")
    assert "lost data (40)" in page.inner_text("#map")
    page.locator("#map circle[data-text]").nth(3).dispatch_event("mouseover")
    assert page.inner_text(".ie-read") == TEXTS[3]


def test_what_is_not_fitted_is_fitted_by_a_button(page: Page, ask: Ask) -> None:
    ask(instruction="What is it about?")
    assert ids(page, "fitted") == []
    page.click("#fit")
    page.wait_for_selector("[data-side=fitted] li")
    assert "learned from" in page.inner_text("#fitted")


def test_the_picture_of_the_readme_is_taken_of_the_page(
    page: Page, ask: Ask, tmp_path: Path
) -> None:
    ask(instruction=PROBLEM)
    picture.take(page, tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as new, Image.open(picture.PICTURE) as kept:
        assert new.width == kept.width == picture.SIZE["width"]
        assert len(new.convert("L").getcolors() or []) > 50  # letters, not an empty page
    assert f"]({picture.PICTURE.relative_to(ROOT)})" in (ROOT / "README.md").read_text("utf-8")


def test_a_judge_reads_the_results_where_it_is_wanted(page: Page, ask: Ask) -> None:
    ask(instruction=PROBLEM)
    page.check("#judged input")
    page.wait_for_selector("[data-side=judged] li")
    assert "judge 0." in page.inner_text("[data-side=judged]")


def test_own_questions_are_measured_pasted_or_from_a_file(
    page: Page, ask: Ask, tmp_path: Path
) -> None:
    ask(instruction=PROBLEM)
    page.get_by_role("tab", name="Measure on my questions").click()
    page.fill("#questions textarea", "paper photos vanished | t4, t6\nhow print invoice | t1")
    page.click("#measure")
    expect(page.locator("#measured")).to_contain_text("By the fitted transform")
    assert "2 judged questions" in page.inner_text("#measured")
    file = tmp_path / "questions.jsonl"
    file.write_text('{"query": "paper photos vanished", "relevant": ["t4"]}\n', "utf-8")
    page.set_input_files("#upload input[type=file]", file)
    page.wait_for_selector("#upload a")  # it is there and can be taken back
    page.click("#measure")
    expect(page.locator("#measured")).to_contain_text("1 judged question")


def test_the_code_to_copy_says_what_is_asked(page: Page, ask: Ask) -> None:
    ask(instruction=PROBLEM, where="problem = how-to")
    page.get_by_role("tab", name="Copy as Python").click()
    for host in ("langchain", "llama"):
        shown = page.locator(f"#{host} .cm-content")
        expect(shown).to_contain_text(f"instruction='{PROBLEM}'")
        expect(shown).to_contain_text("{'problem': 'how-to'}")


def test_it_is_said_where_no_model_is_recorded(served: Served) -> None:
    assert "does not record which model filled it" in "".join(served.said)


def test_the_page_is_for_this_machine_alone(served: Served) -> None:
    port = int(served.url.rstrip("/").rpartition(":")[2])
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [line for line in listening if line[3] == "0A"]
    assert [line[1] for line in listening if line[1].endswith(f":{port:04X}")] == [
        f"0100007F:{port:04X}"
    ]
    with urlopen(f"{served.url}config") as answer:
        config = json.load(answer)
    assert config["analytics_enabled"] is False
    assert served.hosts <= {"127.0.0.1", "localhost"}


def test_without_a_store_the_sample_tickets_are_asked(browser: Browser, tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        page = browser.new_page()
        page.goto(served.url)
        page.wait_for_selector("[data-side=instant] li")
        expect(page.locator("#instruction textarea, #instruction input")).to_have_value(
            "What kind of problem is reported?"
        )
        page.close()
    assert (tmp_path / ".demo" / "chroma.sqlite3").is_file()
