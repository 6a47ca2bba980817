"""The client against a server on loopback: straight, and with every fault that it must outlive."""

import hashlib
import json
import logging
import random
import threading
from collections import Counter

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eva.engines.completions import FaultError
from eva.engines.replies import Replies
from eva.engines.server import Endpoint, ServerGenerator
from eva.errors import GenerationError
from eva.rng import Streams
from eva.types import Prompt, SamplingParams

KEY = "sk-abc/DEF+123=="
PARAMS = SamplingParams(n=2, temperature=0.7, top_p=0.9, max_tokens=20)
PROMPTS = [Prompt.of(f"Name {i} colours.") for i in range(6)]
STREAMS = Streams(3, 1, "answer")


def answer(body):
    """Answer with a hash of the request: what differs in it differs in the text."""
    text = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    count = 1 + int(text[0], 16)
    finish = "length" if count > 12 else "stop"
    return {
        "choices": [{"index": 0, "message": {"content": text[:count]}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 10, "completion_tokens": count},
    }


class Clock:
    """Counts pauses instead of waiting."""

    def __init__(self):
        self.pauses = []

    def __call__(self, stop, seconds):
        self.pauses.append(seconds)


@pytest.fixture
def client():
    """Make clients of a server, closed with the test."""
    made = []

    def make(server, replies=None, **settings):
        endpoint = Endpoint(server if isinstance(server, str) else server.url, "m", **settings)
        generator = ServerGenerator(
            endpoint,
            replies or Replies(),
            pause=settings.get("pause") or Clock(),
            luck=random.Random(1),
        )
        made.append(generator)
        return generator

    yield make
    for generator in made:
        generator._client.close()
        generator._pool.shutdown()


def sampled(generator, prompts=PROMPTS, params=PARAMS, streams=STREAMS):
    return generator.sample(prompts, params, streams)


def test_every_response_is_a_request_with_a_seed_of_its_own(loopback, client):
    server = loopback(answer)
    groups = sampled(client(server, key=KEY))
    assert [group.prompt for group in groups] == PROMPTS
    assert len({body["seed"] for body in server.asked}) == 12
    assert set(server.keys) == {f"Bearer {KEY}"}
    by_seed = {body["seed"]: answer(body) for body in server.asked}
    for group in groups:
        for i, response in enumerate(group.responses):
            told = by_seed[int(STREAMS.of(group.prompt.id, i).integers(2**31))]
            assert response.text == told["choices"][0]["message"]["content"]
            assert response.counted == response.length == told["usage"]["completion_tokens"]
            assert response.truncated == (response.length > 12)
            assert response.token_ids == ()
        assert group.policy == "m"
        assert group.generated_tokens == sum(r.length for r in group.responses)


def test_no_key_sends_no_header(loopback, client):
    server = loopback(answer)
    sampled(client(server), PROMPTS[:1])
    assert set(server.keys) == {None}


def test_a_response_depends_on_no_other(loopback, client):
    server = loopback(answer)
    together = sampled(client(server))
    assert sampled(client(server), PROMPTS[::-1])[::-1] == together
    assert sampled(client(server), PROMPTS[2:3]) == together[2:3]
    more = sampled(client(server), PROMPTS[:1], SamplingParams(5, 0.7, 0.9, 20))
    assert more[0].responses[:2] == together[0].responses


def test_requests_are_under_way_together_and_never_more_than_allowed(loopback, client):
    gate = threading.Barrier(3, timeout=5)

    def together(body):
        gate.wait()
        return answer(body)

    server = loopback(together)
    sampled(client(server, concurrency=3))
    assert server.most == 3


def test_greedy_responses_of_a_prompt_are_one_request(loopback, client):
    server = loopback(answer)
    groups = sampled(client(server), params=SamplingParams(3, 0.0, 0.9, 20))
    assert len(server.asked) == len(PROMPTS)
    assert all(len(set(group.responses)) == 1 for group in groups)


KINDS = {
    "drop": "dropped",
    "cut off": "dropped",
    "cut json": "json",
    "no text": "no_text",
    "two choices": "choices",
    "no choices": "choices",
    "empty": "empty",
    "429 busy after 3": "status_429",
    "500 broken": "status_500",
    "503 full": "status_503",
    "408 late": "status_408",
}
FAULTS = tuple(KINDS)


def test_faults_change_nothing_but_the_count_of_tries(loopback, client):
    straight = loopback(answer)
    expected = sampled(client(straight))
    places = {body["seed"]: i for i, body in enumerate(straight.asked)}

    def fault(body, before):  # each of 12 requests has two, never the same one twice
        return FAULTS[(places[body["seed"]] + before) % len(FAULTS)] if before < 2 else None

    server = loopback(answer, fault)
    generator = client(server, retries=4)
    assert sampled(generator) == expected
    totals = generator.replies.totals()
    clean = Replies()
    assert sampled(client(straight, clean)) == expected
    for name in ("requests", "prompt_tokens", "completion_tokens"):
        assert totals[name] == clean.totals()[name]
    assert totals["tries"] == len(server.asked) == 3 * 12
    told = [FAULTS[(i + before) % len(FAULTS)] for i in range(12) for before in (0, 1)]
    assert totals["faults"] == Counter(map(KINDS.get, told))


def test_a_server_that_is_too_slow_is_asked_again(loopback, client):
    expected = sampled(client(loopback(answer)), PROMPTS[:2])
    server = loopback(answer, lambda body, before: None if before else "slow")
    generator = client(server, seconds=0.25, retries=20)
    assert sampled(generator, PROMPTS[:2]) == expected
    assert generator.replies.totals()["faults"]["timeout"] >= 4


def test_a_reply_that_trickles_is_too_slow(client, monkeypatch):
    class Trickle(httpx2.SyncByteStream):
        def __iter__(self):
            yield from (b" " for _ in range(1000))

    generator = client("http://localhost/v1", seconds=5.0)
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, stream=Trickle()))
    generator._client = httpx2.Client(transport=transport)
    ticks = iter(range(1000))
    monkeypatch.setattr("eva.engines.server.time.monotonic", lambda: float(next(ticks)))
    with pytest.raises(FaultError, match="no whole reply within 5 s"):
        generator._send({}, believed=True)
    assert next(ticks) < 20
    generator._client.close()


def test_a_reply_without_end_is_given_up(loopback, client, monkeypatch):
    monkeypatch.setattr("eva.engines.server.LARGEST", 100)
    endless = answer({"messages": [{"content": "x"}]})
    endless["choices"][0]["message"]["content"] = "on and " * 100
    server = loopback(lambda body: endless)
    with pytest.raises(GenerationError, match=r"3 too_large\); last: a reply of more than 100 by"):
        sampled(client(server, retries=2), PROMPTS[:1])


def test_redirects_are_not_followed(client):
    # the key would go along
    assert not client("http://localhost/v1", key="secret-key")._client.follow_redirects


def test_a_server_that_asks_for_patience_gets_it(loopback, client):
    server = loopback(answer, lambda body, before: None if before else "429 slow down after 7.5")
    generator = client(server)
    sampled(generator, PROMPTS[:1])
    assert generator._pause.pauses == [7.5, 7.5]


def test_but_not_for_ever(loopback, client):
    server = loopback(answer, lambda body, before: None if before else "429 no after 86400")
    generator = client(server)
    sampled(generator, PROMPTS[:1])
    assert generator._pause.pauses == [600.0, 600.0]


def test_pauses_double_and_are_drawn_from_all_of_it(loopback, client):
    server = loopback(answer, lambda body, before: "500 broken")
    generator = client(server, retries=9)
    generator._luck = random.Random(5)
    with pytest.raises(GenerationError):
        sampled(generator, PROMPTS[:1], SamplingParams(1, 0.7, 0.9, 20))
    luck = random.Random(5)
    longest = [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    assert generator._pause.pauses == [luck.uniform(0, most) for most in longest]


def test_an_empty_answer_is_believed_when_it_comes_twice(loopback, client):
    server = loopback(answer, lambda body, before: "empty")
    generator = client(server)
    groups = sampled(generator, PROMPTS[:2])
    assert [r.text for group in groups for r in group.responses] == [""] * 4
    assert len(server.asked) == 8
    once = loopback(answer, lambda body, before: "empty")
    sampled(client(once, retries=0), PROMPTS[:2])
    assert len(once.asked) == 4


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_will_not_pass_stops_at_once_with_the_servers_words(loopback, client, status):
    said = f"model \x1b[1mm\x1b[0m and key {KEY} " + "x" * 1000
    server = loopback(answer, lambda body, before: f"{status} {said}")
    with pytest.raises(GenerationError) as caught:
        sampled(client(server, key=KEY, concurrency=1))
    message = str(caught.value)
    assert f"{server.url}/chat/completions: 'm' refused request" in message
    assert f"status {status}: 'model \\x1b[1mm\\x1b[0m and key [key] xxx" in message
    assert len(message) < 600
    assert KEY not in message
    assert len(server.asked) == 1


def test_tries_run_out_with_a_count_of_what_was_met(loopback, client):
    faults = ("500 a", "drop", "500 b", "cut json")
    server = loopback(answer, lambda body, before: faults[before])
    with pytest.raises(GenerationError) as caught:
        sampled(client(server, retries=3), PROMPTS[:1], SamplingParams(1, 0.7, 0.9, 20))
    message = str(caught.value)
    assert "in 4 tries (1 dropped, 1 json, 2 status_500); last: no completion: " in message
    assert server.url in message


def test_nobody_there_is_said(loopback, client):
    server = loopback(answer)
    url = server.url
    server.http.server_close()
    with pytest.raises(GenerationError, match=r"in 2 tries \(2 connect\)"):
        sampled(client(url, retries=1), PROMPTS[:1], SamplingParams(1, 0.7, 0.9, 20))


def test_a_prompt_that_is_too_long_has_no_responses(loopback, client):
    long = PROMPTS[1]

    def fault(body, before):
        too_long = body["messages"][0]["content"] == long.text
        return "400 maximum context length is 10 tokens" if too_long else None

    server, replies = loopback(answer, fault), Replies()
    groups = sampled(client(server, replies))
    assert [len(group.responses) for group in groups] == [2, 0, 2, 2, 2, 2]
    asked = len(server.asked)
    assert sampled(client(server, replies)) == groups
    assert len(server.asked) == asked


def test_what_was_paid_for_outlives_a_fault_that_does_not_pass(loopback, client, tmp_path):
    last = PROMPTS[-1].text

    def fault(body, before):
        return "401 no" if body["messages"][0]["content"] == last else None

    server = loopback(answer, fault)
    with pytest.raises(GenerationError):
        sampled(client(server, Replies(tmp_path / "r"), concurrency=1))
    assert len(server.asked) == 11
    server.fault = lambda body, before: None
    groups = sampled(client(server, Replies(tmp_path / "r"), concurrency=1))
    assert groups == sampled(client(loopback(answer)))
    texts = Counter(json.dumps(body) for body in server.asked)
    assert sorted(texts.values()) == [1] * 11 + [2]  # the refused one alone came twice


def test_a_resumed_session_asks_nothing_again(loopback, client, tmp_path):
    server = loopback(answer)
    first = sampled(client(server, Replies(tmp_path / "r")))
    # the server has moved, and another would answer otherwise
    other = loopback(lambda body: pytest.fail("asked again"))
    assert sampled(client(other, Replies(tmp_path / "r"))) == first
    assert other.asked == []


def test_a_cap_is_never_passed_over_two_sessions(loopback, client, tmp_path):
    server = loopback(answer)
    prices = {"input_price": 1e6, "output_price": 1e6}  # a token costs 1
    worst = 20 + 64 + 32 + len(PROMPTS[0].text)
    for cap in (worst + 50, worst + 90):
        replies = Replies(tmp_path / "r")
        with pytest.raises(GenerationError, match=f"max_cost of {cap}"):
            sampled(client(server, replies, max_cost=cap, **prices))
        spent = replies.totals()["cost"]
        assert cap - worst < spent <= cap
        del replies
    whole = sampled(client(server, Replies(tmp_path / "r"), max_cost=1e4, **prices))
    assert whole == sampled(client(loopback(answer)))
    assert len(server.asked) == len(PROMPTS) * PARAMS.n


def test_the_key_is_in_no_file_message_or_log(loopback, client, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    server = loopback(
        lambda body: answer(body) | {"choices": [
            {"message": {"content": f"Your key is {KEY}."}, "finish_reason": "stop"}
        ]},
        lambda body, before: f"500 wrong key {KEY}" if not before else None,
    )  # fmt: skip
    generator = client(server, Replies(tmp_path / "r"), key=KEY)
    groups = sampled(generator)
    assert groups[0].responses[0].text == "Your key is [key]."
    assert KEY not in repr(generator.endpoint)
    assert KEY not in caplog.text
    assert "500" in caplog.text
    for file in tmp_path.iterdir():
        assert KEY.encode() not in file.read_bytes()


def test_a_key_that_comes_back_escaped_is_in_no_message(client):
    generator = client("http://localhost/v1", key="a/b-secret")
    # JSON may write the slash as \\/, so that the bytes of the reply do not hold the key
    escaped = b'{"error": {"message": "no such key: a\\/b-secret"}}'
    transport = httpx2.MockTransport(lambda request: httpx2.Response(401, content=escaped))
    generator._client.close()
    generator._client = httpx2.Client(transport=transport)
    with pytest.raises(GenerationError, match=r"no such key: \[key\]"):
        sampled(generator, PROMPTS[:1])


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    schedule=st.dictionaries(
        st.tuples(st.integers(0, 11), st.integers(0, 3)), st.sampled_from(FAULTS)
    )
)
def test_no_schedule_of_faults_changes_a_reply(loopback, client, schedule):
    plain = loopback(answer)
    expected = sampled(client(plain))
    places = {body["seed"]: i for i, body in enumerate(plain.asked)}

    def fault(body, before):
        found = schedule.get((places[body["seed"]], before))
        earlier = [schedule.get((places[body["seed"]], b)) for b in range(before)]
        return None if found == "empty" and "empty" in earlier else found

    server = loopback(answer, fault)
    generator = client(server)
    assert sampled(generator) == expected
    totals = generator.replies.totals()
    assert totals["requests"] == 12
    assert totals["tries"] == len(server.asked) == 12 + sum(totals["faults"].values())
    assert totals["completion_tokens"] == sum(group.generated_tokens for group in expected)


def test_a_limit_by_another_name_is_the_same_request(loopback, client):
    server = loopback(answer)
    replies = Replies()
    first = sampled(client(server, replies))
    asked = len(server.asked)
    again = sampled(client(server, replies, limit_field="max_completion_tokens"))
    assert again == first
    assert len(server.asked) == asked
    other = sampled(client(server, limit_field="max_completion_tokens"))
    assert [len(group.responses) for group in other] == [len(group.responses) for group in first]
    assert all(
        "max_tokens" not in body and body["max_completion_tokens"] == PARAMS.max_tokens
        for body in server.asked[asked:]
    )
