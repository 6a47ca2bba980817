from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eva.creator.operators import Operator, builtin_operators, operator_set
from eva.creator.rewriting import PAPER_PARAMS, Rewriter, fault, unwrap
from eva.creator.wording import words
from eva.rng import Streams
from eva.types import Check, Group, Message, Prompt, Response, SamplingParams

PARENT = Prompt.of("Write a short story about a lamp.", columns={"answer": "42", "kind": "story"})
GOOD = "Write a short story about a lamp that is afraid of the dark."
OPERATOR = Operator("deepen", "depth", "Make the prompt below go further, please.\n{prompt}")
STREAMS = Streams(0, 3, "creator/evolve")


@dataclass
class Scripted:
    """Answers from a list, and keeps what it was asked."""

    replies: list[str | Response | None]
    asked: list[tuple[Prompt, SamplingParams, Streams]] = field(default_factory=list)

    def sample(self, prompts, params, streams):
        groups = []
        for prompt in prompts:
            self.asked.append((prompt, params, streams))
            reply = self.replies.pop(0)
            if isinstance(reply, str):
                reply = Response(reply, tuple(range(len(reply.split()))))
            responses = () if reply is None else (reply,)
            groups.append(Group(prompt, (), responses, "scripted"))
        return groups


def rewrite(reply, parent=PARENT, **options):
    rewriter = Rewriter(Scripted([reply]), [OPERATOR], **options)
    (proposal,) = rewriter.propose([parent], 0, STREAMS)
    return proposal


def test_a_rewrite_becomes_a_child():
    proposal = rewrite(GOOD)
    child = proposal.child
    assert (child.text, child.operator, child.born) == (GOOD, "deepen", 3)
    assert child.parents == (PARENT.id,)
    assert (proposal.text, proposal.reason) == (GOOD, "")
    assert proposal.generated_tokens == len(GOOD.split())


@pytest.mark.parametrize(
    "reply",
    [
        f"  {GOOD}\n\n",
        f'"{GOOD}"',
        f"“{GOOD}”",
        f"'{GOOD}'",
        f"`{GOOD}`",
        f"**{GOOD}**",
        f"```\n{GOOD}\n```",
        f"```text\n{GOOD}```",
        f"<prompt>{GOOD}</prompt>",
        f"Prompt: {GOOD}",
        f"Rewritten prompt: {GOOD}",
        f"**Rewritten Prompt:** {GOOD}",
        f"### New Prompt:\n{GOOD}",
        f"Here is the rewritten prompt:\n\n{GOOD}",
        f"Sure! Here's a slightly harder version:\n{GOOD}",
        f'New prompt: "{GOOD}"',
        f'```\nNew instruction: "{GOOD}"\n```',
    ],
)
def test_wrappings_are_taken_off(reply):
    assert rewrite(reply).child.text == GOOD


@pytest.mark.parametrize(
    "text",
    [
        '"Yes" and "no": explain the difference',
        "'Tis the season. Write a carol",
        "Explain this:\n```\nprint(1)\n```",
        "```\na\n```\nCompare with\n```\nb\n```",
        "Write about versions: old and new",
        "**Rules** apply. List **all**",
    ],
)
def test_quotes_and_fences_of_the_prompt_itself_stay(text):
    assert unwrap(text) == text


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "empty"),
        ("  \n ", "empty"),
        ('""', "empty"),
        ("...", "empty"),
        ("Rewritten prompt:", "empty"),
        (Response(GOOD, (1, 2), finish="length"), "cut off at 666 tokens"),
        (None, "too long for the rewriter"),
        ("write a SHORT story about a lamp!", "unchanged"),
        ("I'm sorry, but I can't help with that.", 'speaks of the rewriting: "I\'m sorry"'),
        (f"{GOOD}\n\nI added a condition.", "speaks of the rewriting: 'I added'"),
        (f"{GOOD} The new prompt is harder.", "speaks of the rewriting: 'new prompt'"),
        (f"Of course! You want a lamp? {GOOD}", "speaks of the rewriting: 'Of course!'"),
        (
            f"Make the prompt below go a bit. {GOOD}",
            "repeats its instructions: 'make the prompt below",
        ),
        ("Once there was a lamp. It lived in a house.", "asks for nothing"),
    ],
)
def test_malformed_replies_are_refused_with_reason_and_text(reply, reason):
    proposal = rewrite(reply)
    assert proposal.child is None
    assert proposal.reason.startswith(reason)
    raw = reply.text if isinstance(reply, Response) else reply or ""
    assert proposal.text == raw
    assert proposal.generated_tokens == (2 if isinstance(reply, Response) else len(raw.split()))


def test_words_of_the_parent_are_no_fault():
    parent = "Make the prompt below go further: 'I added salt.'"
    assert fault(parent + " Explain twice.", parent, OPERATOR) is None


def test_an_answer_is_known_only_by_a_parent_that_asks():
    assert fault("Rote Lampen leuchten.", "Schreibe von einer Lampe.", OPERATOR) is None


def test_system_message_and_earlier_turns_are_kept_and_shown():
    turns = (
        Message("system", "You are terse."),
        Message("user", "Name a lamp."),
        Message("assistant", "Tiffany."),
        Message("user", "Write about it."),
    )
    generator = Scripted(["Write two lines about it."])
    parent = Prompt(turns)
    (proposal,) = Rewriter(generator, [OPERATOR]).propose([parent], 0, STREAMS)
    assert proposal.child.messages == (*turns[:-1], Message("user", "Write two lines about it."))
    (request, params, _) = generator.asked[0]
    assert all(turn.content in request.text for turn in turns)
    assert len(request.messages) == 1
    assert params == PAPER_PARAMS


def test_a_verifiable_prompt_is_not_rewritten_and_costs_nothing():
    checked = Prompt.of("Write a poem. Use no commas.", checks=(Check("no_comma"),), topic="poem")
    generator = Scripted([GOOD])
    proposals = Rewriter(generator, [OPERATOR]).propose([checked, PARENT], 0, STREAMS)
    assert [p.child and p.child.text for p in proposals] == [None, GOOD]
    assert proposals[0].reason == "has checks that a rewrite may break"
    assert (len(generator.asked), proposals[0].generated_tokens) == (1, 0)


def test_keep_checks_keeps_them_on_request():
    checked = Prompt.of("Write a poem. Use no commas.", checks=(Check("no_comma"),), topic="poem")
    child = rewrite("Write a sad poem. Use no commas.", checked, keep_checks=True).child
    assert child.checks == checked.checks
    assert child.topic == child.text


def test_columns_are_dropped_unless_named():
    assert rewrite(GOOD).child.columns == {}
    assert rewrite(GOOD, keep_columns=frozenset({"kind"})).child.columns == {"kind": "story"}


def test_operators_follow_parent_and_step_and_not_the_batch():
    parents = [Prompt.of(f"Write about lamp {i}.") for i in range(12)]
    rewriter = Rewriter(Scripted([GOOD] * 99), operator_set("evol_instruct"))
    drawn = [p.operator for p in rewriter.propose(parents, 0, STREAMS)]
    assert [p.operator for p in rewriter.propose(parents[::-1], 0, STREAMS)] == drawn[::-1]
    assert [p.operator for p in rewriter.propose(parents, 1, STREAMS)] != drawn
    assert len(set(drawn)) >= 4


def test_every_step_has_streams_of_its_own():
    generator = Scripted(["", GOOD])
    rewriter = Rewriter(generator, [OPERATOR])
    for step in (0, 1):
        rewriter.propose([PARENT], step, STREAMS)
    (first, _, early), (second, _, late) = generator.asked
    assert first == second
    assert early.of(first.id, 0).random() != late.of(second.id, 0).random()


def test_no_parents_ask_nothing():
    assert Rewriter(Scripted([]), [OPERATOR]).propose([], 0, STREAMS) == []


MIX = Operator("mix", "breadth", "Make one of two.\n{other}\n{prompt}", keeps_topic=False)
LOOK = Operator("look", "breadth", "Make another.\n{examples}\n\n{prompt}")


def test_a_mixture_has_two_parents_and_no_topic():
    parents = [Prompt.of(f"Write about {t}.", topic=t) for t in ("soap", "tea")]
    generator = Scripted(["Write about soap that smells of tea."] * 2)
    first, second = Rewriter(generator, [MIX]).propose(parents, 0, STREAMS)
    assert first.child.parents == (parents[0].id, parents[1].id)
    assert second.child.parents == (parents[1].id, parents[0].id)
    assert first.child.topic == ""
    assert generator.asked[0][0].text == "Make one of two.\nWrite about tea.\nWrite about soap."


def test_prompts_to_look_at_are_no_parents_and_their_copy_is_refused():
    parents = [Prompt.of(f"Write about {t}.", topic=t) for t in ("soap", "tea")]
    generator = Scripted(["Write about mugs.", "write about SOAP"])
    first, second = Rewriter(generator, [LOOK]).propose(parents, 0, STREAMS)
    assert (first.child.parents, first.child.topic) == ((parents[0].id,), "soap")
    assert (second.child, second.reason) == (None, "repeats another prompt that was shown")
    assert second.generated_tokens == 3


def test_a_mixing_operator_gives_way_where_there_is_nothing_to_mix():
    in_dialogue = Prompt(
        (Message("user", "Hi."), Message("assistant", "Hello."), Message("user", "Write more."))
    )
    checked = Prompt.of("Write it in one line.", checks=(Check("no_comma"),), topic="Write it")
    beside = [PARENT, Prompt.of("write a short story about a lamp!"), in_dialogue, checked]
    rewriter = Rewriter(Scripted([GOOD] * 9), [MIX, OPERATOR])
    for step in range(4):
        assert rewriter.propose(beside, step, STREAMS)[0].operator in {"deepen"}
        rewriter.generator.replies += [GOOD] * 4
    (alone,) = Rewriter(Scripted([]), [MIX]).propose([PARENT], 0, STREAMS)
    assert (alone.child, alone.reason) == (None, "no other prompt to mix it with")
    assert (alone.operator, alone.generated_tokens) == ("mix", 0)


@given(st.lists(st.sampled_from(["a b", "A, b", "c d", "e f", "g h"]), min_size=1), st.integers(0))
def test_no_prompt_is_ever_shown_beside_itself(texts, step):
    parents = [Prompt.of(text) for text in texts]
    generator = Scripted(["Write more."] * len(parents))
    proposals = Rewriter(generator, [MIX, LOOK]).propose(parents, step, STREAMS)
    asked = iter(generator.asked)
    for proposal in proposals:
        shown = next(asked)[0].text.splitlines()
        beside = [line for line in shown[1:-1] if line not in {"", "Prompt:"}]
        assert shown[-1] == proposal.parent.text
        assert words(proposal.parent.text) not in [words(line) for line in beside]
        assert len(set(beside)) == len(beside) <= 3
        if proposal.child and proposal.operator == "mix":
            mother, mate = proposal.child.parents
            assert mother == proposal.parent.id != mate


@given(st.data())
def test_every_echo_of_every_template_is_refused(data):
    operator = data.draw(st.sampled_from(builtin_operators()))
    told = words(operator.template)
    start = data.draw(st.integers(0, len(told) - 5))
    echo = " ".join(told[start : start + 5])
    text = f"Write about tea. {echo.capitalize()}, as a poem."
    reason = fault(text, PARENT.text, operator, others=["Name a mug."])
    assert reason.startswith("repeats its instructions:")


def test_words_of_prompts_shown_are_no_echo():
    shown = "Make one of two dozen eggs. The new prompt is at the door."
    assert fault(f"{shown} Why?", PARENT.text, MIX, others=[shown]) is None


def test_reading_a_reply_takes_no_time_that_grows_with_its_square():
    # with 10^12 steps the suite's own limit would end it
    for text in ("Here is the prompt" + " " * 10**6 + "x", "*" * 10**6 + "x", "#" * 10**6):
        assert unwrap(text)
