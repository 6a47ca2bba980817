import pytest

from eva.evals.statistics import INSIDE
from eva.types import Check, Message, Prompt
from eva.views import wording


def difference(verdict, **changes):
    found = {
        "value": "reward", "label": "", "n": 96, "before": 0.3, "after": 0.4, "difference": 0.1,
        "low": 0.02, "high": 0.18, "verdict": verdict, "detectable": 0.11,
    }  # fmt: skip
    return found | changes


def test_a_gain_is_said_without_a_doubt():
    assert wording.change(difference("gain")) == "0.300 to 0.400: +0.100 (+0.020 to +0.180)"


def test_what_may_be_chance_is_said_to_be():
    said = wording.change(difference(INSIDE, low=-0.02))
    assert said.endswith("(−0.020 to +0.180), may be chance; a change of 0.110 would mostly show")


def test_what_cannot_be_told_is_not_told():
    unknown = {"low": None, "high": None, "detectable": None}
    assert "too few prompts" in wording.change(difference(INSIDE, **unknown))
    assert wording.change(difference(INSIDE, difference=None)) == "not measured on both sides"
    assert wording.interval(difference(INSIDE, **unknown)) == "unknown"


def test_several_differences_in_one_sentence():
    found = [
        difference(INSIDE),
        difference(INSIDE, label="unseen"),
        difference("loss", value="relevance"),
        difference("more", value="tokens"),
    ]
    assert wording.in_short(found) == (
        "In short: no clear change in reward and reward on kinds never trained on; "
        "loss in relevance to the question; an increase in length in tokens."
    )


def test_a_terminal_is_not_steered():
    said = wording.printable("a\x1b[31m\rb\x07\tc\nd\x9b1m")
    assert said == "a\\x1b[31m\\x0db\\x07    c\nd\\x9b1m"


def test_checks_are_listed_with_their_arguments():
    found = [Check("keywords", {"words": ["a", "b"], "level": 1}), Check("lowercase")]
    assert wording.checks(found) == ["keywords (level 1, words a / b)", "lowercase"]


def test_earlier_turns_are_part_of_a_dialogue():
    turns = (Message("system", "Be kind."), Message("user", "Hi"))
    assert wording.dialogue(Prompt(turns)) == "[system] Be kind.\n\n[user] Hi"
    assert wording.dialogue(Prompt.of("Hi")) == "Hi"


@pytest.mark.parametrize(
    ("label", "said"),
    [("seen_1", "with 1 constraint, on kinds trained on"), ("unseen", "on kinds never trained on"),
     ("yours", "(yours)")],
)  # fmt: skip
def test_labels_in_words(label, said):
    assert wording.subset(label) == said


def test_servers_are_spoken_of_where_they_were_asked():
    asked = {"requests": 1200, "tries": 1203, "prompt_tokens": 5000, "completion_tokens": 70}
    cost = {"cost": 1.25, "possible_cost": 0.5, "faults": {"timeout": 2, "status_429": 1}}
    assert wording.servers([{}, {"server": asked | cost}, {}]) == (
        "servers: 1,200 replies in 1,203 tries (2 timeout, 1 status_429), 5,000 tokens read and 70 "
        "written; cost 1.250, and at most 0.500 for tries that broke off"
    )
    free = {"cost": 0.0, "possible_cost": 0.0, "faults": {}}
    assert wording.servers([{"server": asked | free}]).endswith("70 written")
    assert wording.servers([{}]) == ""
