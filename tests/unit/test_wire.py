"""Every request as it is built."""

import json
from typing import Any

import pytest

from aerofs.errors import IllegalBytesError, InvalidNameError
from aerofs.model import AttachmentId, Definition, DefinitionId, DocumentId, Field, FieldRef, ValuePath
from aerofs.platform import Dialect, wire

FIELDS = (
    Field("scan"),
    Field("section.pages"),
    Field("photo", line="lines"),
    Field("sound", line="lines"),
)
INVOICE = Definition(DefinitionId("d/1"), "invoice", fields=FIELDS)
PLACE = FieldRef(DefinitionId("d/1"), DocumentId("bdr:200¡6"), ValuePath("section.pages"))
OTHER = FieldRef(DefinitionId("d2"), DocumentId("x"), ValuePath("scan"))


def parameters(request: wire.Request) -> dict[str, Any]:
    return {key: json.loads(value) for key, value in request.params}


def test_ids_stand_quoted_in_the_path() -> None:
    request = wire.attachments(PLACE)
    assert request.path == "document-definitions/d%2F1/documents/bdr%3A200%C2%A16/attachments"
    assert request.params == (("valuePath", "section.pages"),)


def test_a_page_asks_for_order_limit_and_the_keys_that_are_needed() -> None:
    options = parameters(wire.documents(Dialect(), INVOICE))["options"]
    assert options["sort"] == {"_id": 1}
    assert options["limit"] == 500
    assert "skip" not in options
    assert set(options["fields"]) == {
        "_id",
        "externalId",
        "_createdOn",
        "_lastModifiedOn",
        "scan",
        "section.pages",
        "lines._id",
        "lines.photo",
        "lines.sound",
    }


def test_nothing_is_projected_where_the_fields_are_not_known_or_projection_is_off() -> None:
    unknown = Definition(DefinitionId("d"), "d", fields=None)
    assert "fields" not in parameters(wire.documents(Dialect(), unknown))["options"]
    assert "fields" not in parameters(wire.documents(Dialect(projection=False), INVOICE))["options"]


def test_a_path_below_a_projected_path_is_left_out() -> None:
    nested = Definition(DefinitionId("d"), "d", fields=(Field("a.b"), Field("a"), Field("a-b"), Field("ab")))
    fields = parameters(wire.documents(Dialect(), nested))["options"]["fields"]
    assert {"a", "ab", "a-b"} <= set(fields)
    assert "a.b" not in fields


def test_the_next_page_lies_behind_the_last_document_and_keeps_the_callers_filter() -> None:
    last = DocumentId("m")
    assert wire.after(last, None) == {"_id": {"$gt": "m"}}
    assert wire.after(last, {"status": "open"}) == {"status": "open", "_id": {"$gt": "m"}}
    assert wire.after(last, {"_id": "x"}) == {"$and": [{"_id": "x"}, {"_id": {"$gt": "m"}}]}


def test_a_query_and_a_skip_are_sent_as_json() -> None:
    request = wire.documents(Dialect(), INVOICE, query={"externalId": "bdr:200¡6"}, limit=2, skip=7)
    assert parameters(request)["query"] == {"externalId": "bdr:200¡6"}
    assert parameters(request)["options"]["limit"] == 2
    assert parameters(request)["options"]["skip"] == 7


def test_a_save_says_how_and_is_never_repeated_blindly() -> None:
    request = wire.save(Dialect(append_action="Upload", save_method="PUT"), PLACE, "a.pdf", replace=False)
    assert request.method == "PUT"
    assert not request.idempotent
    assert dict(request.params) == {
        "valuePath": "section.pages",
        "actionType": "Upload",
        "shouldUpdateDocument": "true",
    }
    assert dict(wire.save(Dialect(), PLACE, "a", replace=True).params)["actionType"] == "replace"


@pytest.mark.parametrize("name", ["", 'a"b', "a\rb", "a\nb", "a\0b"])
def test_a_name_that_a_header_cannot_carry_is_refused_before_anything_is_sent(name: str) -> None:
    with pytest.raises(InvalidNameError):
        wire.save(Dialect(), PLACE, name, replace=False)


def test_a_name_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(IllegalBytesError):
        wire.save(Dialect(), PLACE, "a\udcff", replace=False)


def test_a_delete_names_one_attachment_and_may_be_repeated() -> None:
    request = wire.delete(PLACE, AttachmentId("f&1"))
    assert request.method == "DELETE"
    assert request.idempotent
    assert dict(request.params)["attachmentId"] == "f&1"


def test_a_copy_names_definitions_ids_and_places() -> None:
    request = wire.copy(
        Dialect(), PLACE, [AttachmentId("f1"), AttachmentId("f2")], OTHER, names={"d/1": "invoice"}
    )
    assert request.path == "documents/copyAttachments"
    assert not request.idempotent
    assert json.loads(request.body or b"") == [
        {
            "source": {
                "ddName": "invoice",
                "_id": "bdr:200¡6",
                "valuePath": "section.pages",
                "fileNames": [],
                "fileIds": ["f1", "f2"],
            },
            "target": {"ddName": "d2", "_id": "x", "valuePath": "scan", "actionType": "append"},
        },
    ]


def test_an_empty_copy_is_never_sent_for_it_would_copy_everything() -> None:
    with pytest.raises(ValueError, match="nothing to copy"):
        wire.copy(Dialect(), PLACE, [], OTHER, names={})
