import io

from rich.console import Console
from rich.table import Table

from instruct_embeddings._printable import printable
from instruct_embeddings.cli.printable import Printable


def test_control_characters_are_replaced_and_all_else_stays() -> None:
    assert printable("a\tb\nc é 😀") == "a\tb\nc é 😀"
    assert printable("\x1b]0;owned\x07 \x9b31m \r") == "�]0;owned� �31m �"


def test_a_table_keeps_its_own_styles_and_none_of_its_texts() -> None:
    table = Table()
    table.add_column("text", style="red")
    table.add_row("hostile \x1b[2J")
    page = io.StringIO()
    Console(file=page, force_terminal=True, width=40).print(Printable(table))
    assert "\x1b[31m" in page.getvalue()
    assert "\x1b[2J" not in page.getvalue()
    assert "hostile �[2J" in page.getvalue()
