import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from eva.engines.completions import FaultError, Reply
from eva.engines.replies import AbandonedError, Replies
from eva.errors import GenerationError, RunError

HELLO = Reply("Hello.", "stop", 9, 3, (1, 9), (5, 6, 2))


class Asking:
    """Asks through a journal: 12 for a reply, and as much for a try at worst."""

    def __init__(self, replies, cap=0.0):
        self.replies, self.cap, self.sent = replies, cap, []
        self.stop = threading.Event()

    def __call__(self, key, send=lambda: HELLO, *, worst=12.0):
        def sent():
            self.sent.append(key)
            return send()

        return self.replies.fetch(
            key,
            lambda: self.replies.attempt(
                key, sent, price=lambda reply: 12.0, worst=worst, cap=self.cap, stop=self.stop
            ),
        )


def raising(error):
    def send():
        raise error

    return send


def billed(kind="dropped"):
    return raising(FaultError(kind, "gone", billed=True))


def test_a_request_is_made_once_and_its_reply_kept(tmp_path):
    ask = Asking(Replies(tmp_path / "replies.sqlite"))
    assert [ask("a"), ask("a"), ask("b")] == [HELLO] * 3
    assert ask.sent == ["a", "b"]
    again = Asking(Replies(tmp_path / "replies.sqlite"))
    assert again("a") == HELLO
    assert again.sent == []
    assert again.replies.totals() == {
        "requests": 2,
        "tries": 2,
        "prompt_tokens": 18,
        "completion_tokens": 6,
        "cost": 24.0,
        "possible_cost": 0.0,
        "faults": {},
    }


def test_a_reply_comes_back_as_it_was(tmp_path):
    told = Reply("é\x00\n" + "\U0001f600", "length", 0, 7)
    Asking(Replies(tmp_path / "r"))("a", lambda: told)
    assert Asking(Replies(tmp_path / "r"))("a", raising(AssertionError)) == told


def test_nothing_is_written_before_it_is_needed(tmp_path):
    Replies(tmp_path / "replies.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_identical_requests_under_way_are_made_once():
    ask, begun, go = Asking(Replies()), threading.Event(), threading.Event()

    def slowly():
        begun.set()
        go.wait(5)
        return HELLO

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(ask, "a", slowly)
        begun.wait(5)
        others = [pool.submit(ask, "a", raising(AssertionError)) for _ in range(3)]
        go.set()
        assert {future.result() for future in [first, *others]} == {HELLO}
    assert ask.sent == ["a"]


def test_who_waits_for_a_request_that_fails_hears_why():
    ask, begun, go = Asking(Replies()), threading.Event(), threading.Event()

    def fails():
        begun.set()
        go.wait(5)
        raise FaultError("status_401", "no")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, "a", fails)
        begun.wait(5)
        second = pool.submit(ask, "a", fails)
        go.set()
        assert isinstance(first.exception(), FaultError)
        assert isinstance(second.exception(), FaultError)


def test_who_waits_for_a_request_that_is_given_up_asks_itself():
    replies, begun, go = Replies(), threading.Event(), threading.Event()

    def gives_up():
        begun.set()
        go.wait(5)
        raise AbandonedError

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(replies.fetch, "a", gives_up)
        begun.wait(5)
        second = pool.submit(Asking(replies), "a")
        go.set()
        assert isinstance(first.exception(), AbandonedError)
        assert second.result() == HELLO


def test_faults_are_counted_by_kind_and_cost_at_most_what_they_may_have():
    ask = Asking(Replies())
    for kind in ("dropped", "timeout", "dropped"):
        with pytest.raises(FaultError):
            ask("a", billed(kind), worst=5.0)
    with pytest.raises(FaultError):
        ask("a", raising(FaultError("connect", "refused")))
    ask("a")
    totals = ask.replies.totals()
    assert totals["faults"] == {"connect": 1, "dropped": 2, "timeout": 1}
    assert (totals["requests"], totals["tries"]) == (1, 5)
    assert (totals["cost"], totals["possible_cost"]) == (12.0, 15.0)


def test_a_cap_holds_over_sessions(tmp_path):
    Asking(Replies(tmp_path / "r"), cap=30.0)("a")
    ask = Asking(Replies(tmp_path / "r"), cap=30.0)
    ask("b")
    with pytest.raises(GenerationError, match=r"max_cost of 30 .* 24 is spent.* cost 12.*Raise"):
        ask("c")
    assert ask.sent == ["b"]
    assert ask("a") == HELLO  # what is kept costs nothing
    Asking(Replies(tmp_path / "r"), cap=36.0)("c")


def test_what_may_have_been_billed_counts_towards_the_cap():
    ask = Asking(Replies(), cap=30.0)
    for _ in range(2):
        with pytest.raises(FaultError):
            ask("a", billed())
    with pytest.raises(GenerationError, match="24 is spent"):
        ask("a")


def test_a_try_that_was_killed_counts_at_its_worst(tmp_path):
    ask = Asking(Replies(tmp_path / "r"))
    ask("a")
    ask.replies._begin(10.0, 0.0, ask.stop)
    del ask
    ask = Asking(Replies(tmp_path / "r"), cap=30.0)
    assert ask.replies.totals()["faults"] == {"killed": 1}
    with pytest.raises(GenerationError, match="22 is spent"):
        ask("b")


def test_requests_wait_for_room_that_others_may_leave():
    # each may cost 12 and costs 1: one at a time has room at first, and all ten do in the end
    replies, stop = Replies(), threading.Event()
    begun, ends = threading.Event(), threading.Event()

    def ask(key):
        def send():
            if key == "0":
                begun.set()
                ends.wait(5)
            return HELLO

        return replies.attempt(key, send, price=lambda reply: 1.0, worst=12.0, cap=22.0, stop=stop)

    with ThreadPoolExecutor(10) as pool:
        slow = pool.submit(ask, "0")
        begun.wait(5)
        others = [pool.submit(ask, str(i)) for i in range(1, 10)]
        ends.set()
        assert [future.result() for future in [slow, *others]] == [HELLO] * 10
    assert replies.totals()["cost"] == 10.0


def test_the_cap_is_never_passed_whoever_asks_at_once():
    replies, stop = Replies(), threading.Event()

    def ask(key):
        return replies.attempt(
            key, lambda: HELLO, price=lambda reply: 3.0, worst=3.0, cap=10.0, stop=stop
        )

    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(ask, str(i)) for i in range(20)]
    assert sum(isinstance(future.exception(), GenerationError) for future in done) == 17
    assert replies.totals()["cost"] == 9.0


def test_no_try_begins_once_the_call_is_given_up():
    ask = Asking(Replies())
    ask.stop.set()
    with pytest.raises(AbandonedError):
        ask("a")
    assert ask.replies.totals()["tries"] == 0


def test_a_file_that_was_removed_is_known_to_be_lost(tmp_path):
    ask = Asking(Replies(tmp_path / "r"))
    assert not ask.replies.lost
    ask("a")
    assert not ask.replies.lost
    (tmp_path / "r").unlink()
    assert ask.replies.lost
    memory = Asking(Replies())
    memory("a")
    assert not memory.replies.lost


def test_a_file_that_is_no_journal_is_named(tmp_path):
    (tmp_path / "r").write_bytes(b"not a database" * 100)
    with pytest.raises(RunError, match=r"/r: file is not a database"):
        Asking(Replies(tmp_path / "r"))("a")


def test_the_file_holds_replies_and_no_requests(tmp_path):
    Asking(Replies(tmp_path / "r"))("a")
    with closing(sqlite3.connect(tmp_path / "r")) as database:
        assert database.execute("SELECT * FROM replies").fetchall() == [
            ("a", "Hello.", "stop", 9, 3, "[1, 9]", "[5, 6, 2]", 12.0)
        ]
