import json
import math

import pytest

from eva.engines.completions import FaultError, Reply, longest_prompt, quoted, read, request
from eva.rng import Streams
from eva.types import Message, Prompt, Response, SamplingParams

CHAT = Prompt((Message("system", "Be brief."), Message("user", "Hi")))
STREAMS = Streams(0, 1, "answer")
NOW = 1_700_000_000.0


def completion(**changes):
    choice = {"message": {"content": "Hello."}, "finish_reason": "stop"} | changes
    usage = {"prompt_tokens": 9, "completion_tokens": 3}
    return {"choices": [choice], "usage": usage}


def answered(told, status=200, **headers):
    content = told if isinstance(told, bytes) else json.dumps(told).encode()
    return read(status, headers, content, now=NOW)


def fault(told, status=200, **headers):
    with pytest.raises(FaultError) as caught:
        answered(told, status, **{name.replace("_", "-"): v for name, v in headers.items()})
    return caught.value


def test_a_request_names_all_turns_and_a_seed_of_its_own():
    params = SamplingParams(3, 0.7, 0.9, 50)
    made = [request(CHAT, i, model="m", params=params, streams=STREAMS) for i in (0, 1, 0)]
    assert made[0] == made[2] != made[1]
    assert made[0] | {"seed": 0} == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "max_tokens": 50,
        "temperature": 0.7,
        "top_p": 0.9,
        "seed": 0,
    }
    assert 0 <= made[0]["seed"] < 2**31


def test_greedy_decoding_has_no_seed():
    greedy = SamplingParams(2, 0.0, 0.9, 50)
    first, second = (request(CHAT, i, model="m", params=greedy, streams=STREAMS) for i in (0, 1))
    assert first == second
    assert not {"seed", "top_p"} & first.keys()


def test_a_request_may_have_further_fields_and_another_name_for_its_limit():
    greedy = SamplingParams(1, 0.0, 1.0, 50)
    thinking = {"chat_template_kwargs": {"enable_thinking": False}}
    made = request(
        CHAT, 0, model="m", params=greedy, streams=STREAMS,
        limit_field="max_completion_tokens", extra=thinking,
    )  # fmt: skip
    plain = request(CHAT, 0, model="m", params=greedy, streams=STREAMS)
    assert made == thinking | {"max_completion_tokens": plain.pop("max_tokens")} | plain


def test_a_prompt_is_never_longer_than_its_bytes():
    body = request(CHAT, 0, model="m", params=SamplingParams(), streams=STREAMS)
    assert longest_prompt(body) == len(b"Be brief.") + len(b"Hi") + 2 * 32 + 64


def test_a_completion_is_a_reply_and_a_reply_a_response():
    reply = answered(completion())
    assert reply == Reply("Hello.", "stop", 9, 3)
    assert reply.response == Response("Hello.", (), finish="stop", counted=3)
    assert answered(completion(finish_reason="length")).response.truncated
    assert not answered(completion(finish_reason="content_filter")).response.truncated


def test_what_a_server_does_not_count_is_nothing():
    told = completion() | {"usage": None}
    assert answered(told) == Reply("Hello.", "stop", 0, 0)


def with_ids(told):
    return read(200, {}, json.dumps(told).encode(), now=NOW, token_ids=True)


def test_tokens_that_are_asked_for_are_those_that_were_sampled():
    told = completion(token_ids=[5, 6, 2]) | {"prompt_token_ids": [1, 9]}
    reply = with_ids(told)
    assert reply == Reply("Hello.", "stop", 9, 3, (1, 9), (5, 6, 2))
    assert reply.response == Response("Hello.", (5, 6, 2), finish="stop")
    assert answered(told).response.token_ids == ()  # nobody asked


@pytest.mark.parametrize(
    "told",
    [
        completion(),
        completion(token_ids=[5, 6]),
        completion(token_ids=["5"]) | {"prompt_token_ids": [1]},
        completion(token_ids={"5": 6}) | {"prompt_token_ids": [1]},
        completion(token_ids=[5, True]) | {"prompt_token_ids": [1]},
    ],
)
def test_a_server_that_does_not_tell_its_tokens_is_given_up(told):
    with pytest.raises(FaultError, match="without the tokens' ids") as caught:
        with_ids(told)
    assert (caught.value.passing, caught.value.billed) == (False, True)


def test_half_a_character_is_a_question_mark():
    told = json.dumps(completion()).replace("Hello.", r"\ud83d and \ud83d\ude00").encode()
    assert answered(told).text == "? and \U0001f600"


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_an_answer_may_end_before_its_first_word(finish):
    cut = answered(completion(message={"content": None}, finish_reason=finish))
    assert cut.text == ""


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        (b'{"choices": [{"mess', "json"),
        (b"<html>proxy</html>", "json"),
        (b"[" * 100_000, "json"),
        (b"\xff\xfe", "json"),
        ({"error": "overloaded"}, "json"),
        (["a"], "json"),
        ({"choices": [{}]}, "json"),
        ({"choices": [None]}, "json"),
        ({"choices": None}, "choices"),
        ({"choices": []}, "choices"),
        ({"choices": completion()["choices"] * 2}, "choices"),
        (completion(message={"content": None}), "no_text"),
        (completion(message={"content": ["part"]}), "no_text"),
        (completion() | {"usage": {"completion_tokens": "many"}}, "json"),
    ],
)
def test_what_is_no_completion_may_pass_and_may_be_billed(told, kind):
    found = fault(told)
    assert (found.kind, found.passing, found.billed) == (kind, True, True)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 529])
def test_some_statuses_pass(status):
    found = fault({"error": {"message": "busy"}}, status)
    assert (found.kind, found.passing, found.billed) == (f"status_{status}", True, False)
    assert str(found) == f"status {status}: 'busy'"


@pytest.mark.parametrize("status", [301, 400, 401, 402, 403, 404, 422])
def test_others_do_not(status):
    assert not fault({"error": {"message": "no"}}, status, retry_after="5").passing


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0.25", 0.25),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30.0),
        ("Tue, 14 Nov 2023 22:13:10 GMT", 0.0),
        ("-3", 0.0),
        ("inf", 0.0),
        ("nan", 0.0),
        ("soon", 0.0),
        ("", 0.0),
    ],
)
def test_a_server_says_when_to_come_back(value, seconds):
    found = fault(b"", 429, retry_after=value)
    assert math.isclose(found.wait, seconds, abs_tol=1e-9)


@pytest.mark.parametrize(
    "said",
    [
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens",
        "the request exceeds the available context size, try increasing it",
        "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
        "prompt is too long: 210000 tokens > 200000 maximum",
    ],
)
def test_a_prompt_that_is_too_long_has_no_response(said):
    assert answered({"error": {"message": said}}, 400).response is None
    assert answered({"object": "error", "message": said}, 400).response is None


def test_only_a_refusal_can_speak_of_the_context():
    assert fault({"error": {"message": "context length?"}}, 500).passing
    coded = {"error": {"message": "no", "code": "context_length_exceeded"}}
    assert answered(coded, 400).response is None


def test_words_of_a_server_are_short_and_plain():
    assert quoted(b"") == "nothing"
    assert quoted(b'{"detail": "\\u001b[31m"}') == ascii('{"detail": "\\u001b[31m"}')
    assert quoted(b'{"error": "\x1b[31mred"}').startswith("'")
    assert quoted(json.dumps({"error": {"message": "\x1b[31m<b>é"}}).encode()) == (
        "'\\x1b[31m<b>\\xe9'"
    )
    assert len(quoted(b"x" * 10_000)) == 300 + len("'...'")
