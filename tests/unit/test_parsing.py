"""Contents of answers, in every shape that we tolerate."""

from typing import Any

import pytest

from aerofs.model import Attachment, AttachmentId, Definition, DefinitionId, Field
from aerofs.platform import Dialect, parsing

DIALECT = Dialect()
FILE = {"_id": "f1", "_fileName": "a.pdf", "_size": 7}
PARSED = Attachment(AttachmentId("f1"), "a.pdf", 7)


def paths(definition: Definition, raw: dict[str, Any], dialect: Dialect = DIALECT) -> dict[str, list[str]]:
    document = parsing.document(dialect, definition, raw)
    assert document is not None
    return {path: [each.name for each in held] for path, held in document.fields.items()}


@pytest.mark.parametrize(
    "raw",
    [
        {
            "_id": "f1",
            "_fileName": "a.pdf",
            "type": "application/pdf",
            "_size": 7,
            "downloadURL": "https://s/1",
        },
        {
            "id": "f1",
            "fileName": "a.pdf",
            "mimeType": "application/pdf",
            "size": 7,
            "downloadUrl": "https://s/1",
        },
        {
            "attachmentId": "f1",
            "filename": "a.pdf",
            "contentType": "application/pdf",
            "size": "7",
            "url": "https://s/1",
        },
        {"fileId": "f1", "name": "a.pdf", "type": "application/pdf", "_size": 7.0, "url": "https://s/1"},
    ],
)
def test_every_known_set_of_keys_is_understood(raw: dict[str, Any]) -> None:
    (found,) = parsing.attachments(DIALECT, [raw])
    assert found == Attachment(AttachmentId("f1"), "a.pdf", 7, "application/pdf")
    assert found.url == "https://s/1"


def test_keys_of_the_profile_take_the_place_of_ours() -> None:
    dialect = Dialect.spoken({"id_keys": ["key"], "name_keys": ["title"]})
    assert parsing.attachments(dialect, [{"key": 12, "title": "t"}]) == (Attachment(AttachmentId("12"), "t"),)


def test_entries_without_an_id_are_left_out_and_wrong_values_count_as_not_told() -> None:
    raws = [
        None,
        3,
        {},
        {"_fileName": "x"},
        {"_id": ""},
        {"_id": "f", "_fileName": ["x"], "_size": -1, "type": {}},
    ]
    assert parsing.attachments(DIALECT, raws) == (Attachment(AttachmentId("f"), "f", None, None),)


def test_a_definition_with_header_nested_and_line_fields() -> None:
    found = parsing.definition(
        DIALECT,
        {
            "_id": "d1",
            "name": "invoice",
            "label": "Invoices",
            "fields": [
                {
                    "name": "scan",
                    "label": "Scan",
                    "type": "Attachment",
                    "required": True,
                    "maximumAllowedAttachments": 3,
                    "maximumFileSize": 1.5,
                    "maximumImageWidth": 1024,
                },
                {"name": "note", "type": "text"},
                {"name": "section", "type": "section", "fields": [{"name": "pages", "type": "attachment"}]},
                {"name": "rows", "type": "lines", "fields": [{"name": "photo", "type": "attachment"}]},
                "garbage",
            ],
            "lines": [
                {"name": "items", "fields": [{"name": "photo", "type": "attachment"}, {"type": "text"}]},
                {},
            ],
        },
    )
    assert found == Definition(
        DefinitionId("d1"),
        "invoice",
        "Invoices",
        fields=(
            Field(
                "scan",
                label="Scan",
                required=True,
                maximum_attachments=3,
                maximum_size=1_572_864,
                resizes_images=True,
            ),
            Field("section.pages"),
            Field("photo", line="rows"),
            Field("photo", line="items"),
        ),
    )


def test_fields_that_are_not_told_are_not_known_and_empty_ones_are_empty() -> None:
    silent = parsing.definition(DIALECT, {"id": "d", "name": "n"})
    empty = parsing.definition(DIALECT, {"id": "d", "name": "n", "fields": []})
    assert silent is not None
    assert empty is not None
    assert silent.fields is None
    assert empty.fields == ()
    assert parsing.definition(DIALECT, {"label": "x"}) is None


def test_fields_of_a_profile_may_lie_in_lines() -> None:
    assert parsing.configured_fields(["scan", "a.b", "rows.*.photo"]) == (
        Field("scan"),
        Field("a.b"),
        Field("photo", line="rows"),
    )


def test_a_document_has_every_field_of_its_definition() -> None:
    definition = Definition(
        DefinitionId("d"),
        "d",
        fields=(Field("scan"), Field("empty"), Field("section.pages"), Field("photo", line="rows")),
    )
    raw = {
        "_id": "1",
        "scan": [FILE],
        "section": {"pages": [FILE]},
        "rows": [{"_id": "r1", "photo": [FILE, FILE]}, {"_id": "r2"}, "garbage"],
        "unasked": [FILE],
    }
    assert paths(definition, raw) == {
        "scan": ["a.pdf"],
        "empty": [],
        "section.pages": ["a.pdf"],
        "rows.r1.photo": ["a.pdf", "a.pdf"],
        "rows.r2.photo": [],
    }
    by_index = paths(definition, raw, Dialect(lines_by="index"))
    assert list(by_index)[-2:] == ["rows.0.photo", "rows.1.photo"]


def test_a_dotted_path_may_be_one_key() -> None:
    definition = Definition(DefinitionId("d"), "d", fields=(Field("section.pages"),))
    assert paths(definition, {"_id": "1", "section.pages": [FILE]}) == {"section.pages": ["a.pdf"]}
    assert paths(definition, {"_id": "1", "section": "text"}) == {"section.pages": []}


def test_fields_are_discovered_where_the_definition_does_not_tell_them() -> None:
    definition = Definition(DefinitionId("d"), "d", fields=None)
    raw = {
        "_id": "1",
        "_hidden": [FILE],
        "scan": [FILE],
        "section": {"pages": [FILE]},
        "rows": [{"_id": "r1", "name": "not a file", "photo": [FILE]}, {"_id": "r2", "count": 3}],
        "tags": ["a", "b"],
    }
    assert paths(definition, raw) == {
        "scan": ["a.pdf"],
        "section.pages": ["a.pdf"],
        "rows.r1.photo": ["a.pdf"],
    }


def test_a_document_says_which_one_it_is() -> None:
    definition = Definition(DefinitionId("d"), "d")
    found = parsing.document(
        DIALECT,
        definition,
        {
            "_id": 5,
            "externalId": "bdr:200¡6",
            "_createdOn": "2026-03-01T08:15:00.250Z",
            "_lastModifiedOn": "2026-03-01T09:15:00.250+01:00",
        },
    )
    assert found is not None
    assert (found.id, found.external_id) == ("5", "bdr:200¡6")
    assert found.created_ns == found.modified_ns == 1_772_352_900_250_000_000
    assert parsing.document(DIALECT, definition, {"externalId": "x"}) is None


@pytest.mark.parametrize("moment", [None, "", "yesterday", 12, {}, "2026-13-01"])
def test_a_moment_that_is_none_is_zero(moment: object) -> None:
    assert parsing.nanoseconds(moment) == 0


def test_a_moment_without_zone_is_utc() -> None:
    assert parsing.nanoseconds("1970-01-01T00:00:01") == 1_000_000_000
