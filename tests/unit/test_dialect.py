"""The dialect: defaults, overrides, and mistakes in overrides."""

import pytest

from aerofs.errors import ConfigError
from aerofs.platform import Dialect


def test_without_overrides_the_dialect_is_our_reading() -> None:
    assert Dialect.spoken({}) == Dialect()
    assert Dialect().part_name == "file"


def test_an_override_replaces_one_attribute() -> None:
    dialect = Dialect.spoken({"append_action": "Upload", "id_keys": ["key"]})
    assert dialect.append_action == "Upload"
    assert dialect.id_keys == ("key",)
    assert dialect.replace_action == "replace"


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"apend_action": "Upload"}, "dialect.apend_action"),
        ({"page_limit": 801}, "dialect.page_limit"),
        ({"lines_by": "name"}, "dialect.lines_by"),
        ({"id_keys": "key"}, "dialect.id_keys"),
    ],
)
def test_a_mistake_in_an_override_names_the_attribute(overrides: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        Dialect.spoken(overrides)
