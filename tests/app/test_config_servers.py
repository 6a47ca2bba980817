import pytest
from pydantic import ValidationError

from eva.app.config_servers import Server


def test_a_server_needs_an_address_and_a_model():
    assert Server(url="http://localhost:8000/v1", model="m").max_cost == 0
    with pytest.raises(ValidationError):
        Server(url="http://localhost:8000/v1")


def test_a_key_has_no_place_in_the_config():
    with pytest.raises(ValidationError, match="api_key"):
        Server(url="http://localhost:8000/v1", model="m", api_key="secret")
