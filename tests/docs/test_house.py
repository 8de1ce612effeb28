"""The drawing of the packages is the one that their imports give."""

from scripts.draw_house import PICTURE, arrows, levels, rooms, svg


def test_the_drawing_shows_the_imports_of_today() -> None:
    assert PICTURE.read_text(encoding="utf-8") == svg(rooms()), "python scripts/draw_house.py"


def test_every_room_stands_above_what_it_imports() -> None:
    found = rooms()
    floor = {name: number for number, names in enumerate(levels(found)) for name in names}
    assert set(floor) == set(found)
    assert all(floor[name] < floor[one] for name in found for one in found[name].imports)
    drawn = set(arrows(found))
    assert ("cli", "ground") not in drawn  # shown by the way over the rooms between
    assert ("transform", "ground") in drawn
