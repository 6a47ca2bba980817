import pytest
from pydantic import ValidationError

from eva.app.config_section import Section


class Table(Section):
    size: int = 1


def test_a_section_is_frozen_and_closed():
    with pytest.raises(ValidationError, match="frozen"):
        Table().size = 2
    with pytest.raises(ValidationError, match="Extra inputs"):
        Table(length=2)
