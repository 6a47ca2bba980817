"""The words around request and constraints: what `eva.constraints.composition` draws from."""

from __future__ import annotations

from eva.constraints import measure

VERBS = frozenset(
    measure.words(
        "advise analyze answer arrange ask brainstorm build calculate change choose "
        "classify come compare complete compose compute construct convert correct count "
        "create criticize define describe design determine develop discuss draft edit "
        "estimate evaluate explain express find generate give help identify imagine "
        "invent list make name offer outline paraphrase pick plan predict prepare present "
        "propose provide rank recommend rephrase report rewrite say select share show "
        "sketch sort suggest summarize teach tell think translate turn use write "
    )
)
"""Imperatives with which a request may open: those that can follow "please"."""

QUESTION_WORDS = frozenset(
    measure.words(
        "are can could did do does how is should was were what when where which who whose why will"
        " would"
    )
)
"""First words of a question."""

ASKS = (
    ("please {}", "."),
    ("can you {}", "?"),
    ("could you {}", "?"),
    ("could you please {}", "?"),
    ("I would like you to {}", "."),
    ("I need you to {}", "."),
    ("I want you to {}", "."),
    ("would you {}", "?"),
    ("your task is to {}", "."),
    ("I'm asking you to {}", "."),
    ("I'd like to ask you to {}", "."),
    ("would you please {}", "?"),
    ("I was wondering if you could {}", "."),
    ("let's see if you can {}", "."),
)
"""Ways to put an imperative request, with the mark that ends it."""

LEADS = (
    "answer the following question {}: ",
    "answer this question {}: ",
    "here is something to answer {}. ",
    "please respond to this question {}.\n\n",
    "reply to the question below {}.\n\n",
    "I'd like to have an answer {}. ",
    "give me an answer {}. ",
    "I have a question for you to answer {}. ",
)
"""Sentences before a question that hold a tail."""

REPLIES = (
    "answer {}",
    "please answer {}",
    "respond {}",
    "reply {}",
    "give me your answer {}",
    "please respond {}",
    "tell me {}",
    "you should answer {}",
    "I'd like your answer {}",
)
"""Sentences after a question that hold a tail."""

OPENERS = {
    "do": (
        *[""] * 6,
        "please ",
        "make sure to ",
        "be sure to ",
        "remember to ",
        "you should ",
        "you must ",
        "you need to ",
        "you have to ",
        "don't forget to ",
        "in doing so, ",
        "try to ",
    ),
    "say": (
        *[""] * 8,
        "note that ",
        "please note that ",
        "remember that ",
        "remember, ",
    ),
}
"""What may stand before a constraint, imperative or sentence; often nothing."""

CONNECTIVES = (
    *[""] * 6,
    "also, ",
    "in addition, ",
    "finally, ",
    "besides that, ",
    "additionally, ",
    "furthermore, ",
    "lastly, ",
    "and ",
)
"""What may stand before a constraint that follows another; often nothing."""

HEADERS = (
    "Please follow these rules:",
    "Requirements:",
    "Rules:",
    "Guidelines:",
    "Instructions:",
    "Constraints:",
    "Make sure that you follow these instructions:",
    "A few things to keep in mind:",
    "The answer should meet these conditions:",
    "Some rules for your response:",
    "Here is what I need:",
    "Keep to the following:",
)
"""Lines above a list of constraints."""
