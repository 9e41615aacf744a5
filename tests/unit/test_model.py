"""The platform's words: what follows from them without asking anybody."""

from aerofs.model import Definition, DefinitionId, Field, ValuePath

DEFINITION = Definition(
    DefinitionId("d"),
    "order",
    fields=(Field("scan"), Field("papers.letters"), Field("photo", line="rows"), Field("a.b", line="rows")),
)


def test_a_value_path_leads_to_the_settings_of_its_field() -> None:
    paths = ["scan", "papers.letters", "rows.5f0c.photo", "rows.5f0c.a.b"]
    found = [DEFINITION.field(ValuePath(path)) for path in paths]
    assert found == list(DEFINITION.fields or ())


def test_a_path_that_no_field_has_leads_nowhere() -> None:
    for path in ("scans", "papers", "rows.photo", "rows.5f0c.scan", "rows.5f0c", "photo"):
        assert DEFINITION.field(ValuePath(path)) is None


def test_where_fields_are_not_told_none_is_found() -> None:
    assert Definition(DefinitionId("d"), "order", fields=None).field(ValuePath("scan")) is None
