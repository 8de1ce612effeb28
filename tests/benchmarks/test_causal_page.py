from typing import Any

from benchmarks.causal import PEERS, VARIANTS
from benchmarks.causal_page import CLAIMS, HEADINGS, claims, lines, spent_on_steps

RESULTS: dict[str, Any] = {
    "variants": ["InstEmb", "GIRCSE", "untrained, DAAP"],
    "rows": [
        {"variant": name, "K": k, "v_measure": 0.5, "obedience": 0.0, "ndcg@10": 0.25}
        | {"precision@10": precision, "milliseconds": 12.0, "training seconds": 90}
        for name, k, precision in (("InstEmb", 0, 0.7), ("GIRCSE", 0, 0.5), ("GIRCSE", 4, 0.625))
    ],
    "cost": {"tokens": 200, "texts": 20, "x, K = 0": 10.0, "x, K = 4": 13.0},
}


def test_every_claim_names_rows_that_there_are() -> None:
    assert {name for _, *names in CLAIMS for name in names} <= {*VARIANTS, *PEERS}


def test_what_was_not_run_says_so() -> None:
    found = lines(RESULTS)
    assert {len(line) for line in found} == {len(HEADINGS)}
    assert found[0] == ("InstEmb", "0", "0.700", "0.500", "0.000", "0.250", "12", "2 min")
    assert found[-1][:3] == ("untrained, DAAP", "", "not run")


def test_claims_are_differences_of_rows() -> None:
    """GIRCSE counts with the steps that it was trained with."""
    found = {line[0]: line[1] for line in claims(RESULTS)}
    assert found["GIRCSE beats InstEmb"] == "-0.075"
    assert found["GIRCSE: K = 4 beats K = 0"] == "+0.125"
    assert found["GIRCSE: K = 8 beats K = 4"] == "not run"
    assert found["InstEmb, trained, beats the untrained model"] == "not run"


def test_the_cost_of_steps_is_told_as_a_ratio() -> None:
    (told,) = spent_on_steps(RESULTS)
    assert "1.30 times as long with K = 4" in told
