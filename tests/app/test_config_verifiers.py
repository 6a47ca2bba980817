import pytest
from pydantic import TypeAdapter, ValidationError

from eva.app.config_rewards import Reward


def reward(**section):
    return TypeAdapter(Reward).validate_python(section)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"name": "pattern"}, "either pattern or column"),
        ({"name": "pattern", "pattern": "a", "column": "b"}, "either pattern or column"),
        ({"name": "pattern", "pattern": "("}, "no regular expression"),
        ({"name": "pattern", "pattern": "a", "group": "1"}, "go together"),
        ({"name": "json_schema"}, "either definition or column"),
        ({"name": "profanity"}, "give words"),
        ({"name": "length"}, "limit"),
        ({"name": "math", "seconds": 0}, "greater than 0"),
    ],
)
def test_what_does_not_fit_together_is_said(section, words):
    with pytest.raises(ValidationError, match=words):
        reward(**section)


def test_each_is_a_leaf():
    for section in ({"name": "math"}, {"name": "repetition"}, {"name": "length", "limit": 9}):
        made = reward(**section)
        assert list(made.leaves()) == [made]
