"""The reference policy: log-probs computed once per round and stored with the examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from eva.errors import ConfigError, SolverError, unknown_name
from eva.protocols import Engine
from eva.solver.objectives import OBJECTIVES
from eva.types import Example

Reference: TypeAlias = Literal["previous", "sampler", "base", "none"]
REFERENCES: tuple[Reference, ...] = ("previous", "sampler", "base", "none")


def reference_for(objective: str, asked: Reference | Literal["auto"] = "auto") -> Reference:
    """Return the reference that an objective trains with: by itself `previous`, or `none`.

    >>> reference_for("dpo"), reference_for("simpo")
    ('previous', 'none')

    Raises:
        ConfigError: no such objective or reference, or the objective needs one and `none` is asked.
    """
    if objective not in OBJECTIVES:
        raise ConfigError(unknown_name("objective", objective, OBJECTIVES))
    needed = OBJECTIVES[objective].reference
    if asked == "auto":
        return "previous" if needed else "none"
    if asked not in REFERENCES:
        raise ConfigError(unknown_name("reference", asked, (*REFERENCES, "auto")))
    if needed and asked == "none":
        raise ConfigError(
            f"reference = 'none', and {objective} compares with one: choose 'previous' or 'base'"
        )
    return asked


def attach_reference(
    examples: Sequence[Example], engine: Engine, reference: Reference, *, chunk: int = 256
) -> list[Example]:
    """Return the examples, in order, with per-token log-probs of the reference policy.

    `previous` is the engine's policy as it stands: call this before the round's first update, and
    on resume read what was stored, because by then the policy has moved. `sampler` is the same
    policy, as recorded while it answered: no pass over the examples, but the log-probs are the
    decoding loop's, so the first loss is that of equal policies only up to rounding. `base` is the
    policy the engine was made with. `none` removes what was there. The engine is asked for `chunk`
    examples at a time.

    Raises:
        ConfigError: no such reference.
        SolverError: the engine's log-probs do not fit the examples.
    """
    if reference not in REFERENCES:
        raise ConfigError(unknown_name("reference", reference, REFERENCES))
    if reference == "none":
        return [replace(example, reference=None) for example in examples]
    if reference == "sampler":
        return [_recorded(example) for example in examples]
    attached: list[Example] = []
    for start in range(0, len(examples), chunk):
        part = examples[start : start + chunk]
        logprobs = engine.logprobs(part, base=reference == "base")
        if len(logprobs) != len(part):
            raise SolverError(
                f"reference {reference!r}: log-probs of {len(logprobs)} examples, "
                f"expected {len(part)}: the engine is broken"
            )
        attached += [_checked(e, lp, reference) for e, lp in zip(part, logprobs, strict=True)]
    return attached


def _recorded(example: Example) -> Example:
    if example.reference is None:
        raise SolverError(
            f"reference 'sampler', prompt {example.prompt_id}: its answers came without log-probs: "
            "take 'previous'"
        )
    return _checked(example, example.reference, "sampler")


def _checked(
    example: Example, logprobs: tuple[tuple[float, ...], ...], reference: Reference
) -> Example:
    got, want = [len(values) for values in logprobs], [len(ids) for ids in example.completions]
    if got != want:
        raise SolverError(
            f"reference {reference!r}, prompt {example.prompt_id}: log-probs of lengths {got} for "
            f"completions of lengths {want}: the engine is broken"
        )
    return replace(example, reference=logprobs)
