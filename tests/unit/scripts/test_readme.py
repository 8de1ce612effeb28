from scripts.readme import alone

TEXT = "![A map](docs/map.png) and [pages](docs/a.md#b), [web](https://x.org/), [here](#top)."


def test_links_are_absolute_where_there_is_an_address() -> None:
    assert alone(TEXT, "https://host/me/it/") == (
        "![A map](https://host/me/it/raw/main/docs/map.png) and "
        "[pages](https://host/me/it/blob/main/docs/a.md#b), [web](https://x.org/), [here](#top)."
    )


def test_without_an_address_words_stand_for_links_that_lead_nowhere() -> None:
    assert alone(TEXT, "") == "*A map* and pages, [web](https://x.org/), [here](#top)."
