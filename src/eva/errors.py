"""Every error that eva raises on purpose.

    EvaError
    ├── ConfigError       (ValueError)    a config, command line or name that cannot be played
    ├── DataError         (ValueError)    a data set, file or prompt set that cannot be read
    ├── GenerationError   (RuntimeError)  the policy or rewriter could not answer
    ├── RewardError       (RuntimeError)  a reward is broken as a whole, not for one response
    ├── AlarmError        (RuntimeError)  a sign of trouble that the config says is to stop the run
    ├── SolverError       (RuntimeError)  training cannot go on (no pairs, loss not finite)
    └── RunError          (RuntimeError)  a run folder that is locked, damaged or of another run

One bad item is data: a refused prompt, an unscored response, recorded and counted. A broken
system raises one of these. A message says where, what was got, what was expected, what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EvaError(Exception):
    """Base of every error that eva raises on purpose."""


class ConfigError(EvaError, ValueError):
    """A config, command line or name that cannot be played."""


class DataError(EvaError, ValueError):
    """A data set, file or prompt set that cannot be read."""


class GenerationError(EvaError, RuntimeError):
    """The policy or rewriter could not answer."""


class RewardError(EvaError, RuntimeError):
    """A reward is broken as a whole, not for one response."""


class SolverError(EvaError, RuntimeError):
    """Training cannot go on."""


class AlarmError(EvaError, RuntimeError):
    """A sign of trouble that is to stop the run; what was played is kept."""


class RunError(EvaError, RuntimeError):
    """A run folder that is locked, damaged, or belongs to another run."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Say that a name is not known, with the nearest right one.

    >>> unknown_name("sampler", "weigthed", ["greedy", "weighted"])
    "unknown sampler 'weigthed': did you mean 'weighted'? Known: greedy, weighted"
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown {kind} {name!r}: {hint}Known: {', '.join(names)}"
