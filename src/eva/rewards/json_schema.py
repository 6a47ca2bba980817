"""Whether an answer is JSON that fits a schema; runs in the worker of a `VerifierReward`.

A schema may hold regular expressions, and what they do on a hostile text is for the worker's time
limit. References to other documents are not fetched: a schema that has any cannot be used.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, NoReturn

try:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for
    from referencing import Registry
except ImportError as error:
    raise ImportError(f'{error}: pip install "eva-align[verify]"') from error

# What stands before the closing marks is taken off by hand: an expression that tries every place
# for it needs time that grows with the square of the blanks.
_FENCED = re.compile(r"```[\w+-]*[ \t]*\n(.*)```", re.DOTALL)


def fits(response: str, schema: object) -> dict[str, float]:
    """Return as `reward` whether the response is JSON that the schema allows, and as `json` if any.

    All of the response must be JSON, or one code fence that holds it. NaN and Infinity are none.

    Args:
        response: the answer.
        schema: an object, or JSON text; `$schema` names its draft, by default 2020-12.

    Raises:
        jsonschema.SchemaError: it is no schema.
        referencing.exceptions.Unresolvable: it refers to another document.
    """
    validator = _validator(schema if isinstance(schema, str) else json.dumps(schema))
    try:
        value = json.loads(unfenced(response), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return {"reward": 0.0, "json": 0.0}
    return {"reward": float(validator.is_valid(value)), "json": 1.0}


def unfenced(text: str) -> str:
    r"""Return what is in a code fence, where the text is nothing else; else the text.

    >>> unfenced('```json\n{"a": 1}\n```'), unfenced("see ```1```")
    ('{"a": 1}', 'see ```1```')
    """
    inside = _FENCED.fullmatch(text.strip())
    return inside[1].rstrip(" \t").removesuffix("\n") if inside else text


@lru_cache(maxsize=256)
def _validator(schema: str) -> Any:
    shape = json.loads(schema)
    kind = validator_for(shape, default=Draft202012Validator)
    kind.check_schema(shape)
    # an empty registry: the default one would fetch what it does not know
    return kind(shape, registry=Registry())


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
