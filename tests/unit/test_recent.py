import threading

from instruct_embeddings._threads import Recent


def test_what_was_used_longest_ago_is_forgotten_first() -> None:
    kept: Recent[str, int] = Recent(2)
    assert kept.put("a", 1) == 1
    kept.put("b", 2)
    assert kept.get("a") == 1
    kept.put("c", 3)
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (1, None, 3)
    assert "b" not in kept
    assert sorted(kept.values()) == [1, 3]


def test_a_key_that_is_put_again_counts_once() -> None:
    kept: Recent[str, int] = Recent(2)
    for value in range(5):
        kept.put("a", value)
    kept.put("b", 9)
    assert (kept.get("a"), kept.get("b"), len(kept)) == (4, 9, 2)


def test_threads_share_it() -> None:
    kept: Recent[int, int] = Recent(50)

    def work(start: int) -> None:
        for number in range(start, start + 2000):
            kept.put(number % 200, number)
            kept.get((number * 7) % 200)
            kept.values()

    threads = [threading.Thread(target=work, args=(n * 13,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kept) == 50
    assert all(0 <= value < 2100 for value in kept.values())
