from aerofs.model import AttachmentId, DefinitionId, DocumentId, FieldRef, ValuePath
from aerofs.namespace.overlay import Overlay

FIELD = FieldRef(DefinitionId("d"), DocumentId("1"), ValuePath("picture"))
OTHER = FieldRef(DefinitionId("d"), DocumentId("2"), ValuePath("picture"))
ONE = AttachmentId("a1")


def test_what_two_reasons_hide_is_shown_when_both_are_gone() -> None:
    overlay = Overlay[str]()
    overlay.hide(ONE)
    overlay.hide(ONE)
    assert not overlay.unhide(ONE)
    assert overlay.is_hidden(ONE)
    assert overlay.unhide(ONE)
    assert not overlay.is_hidden(ONE)


def test_unhiding_what_is_not_hidden_changes_nothing() -> None:
    overlay = Overlay[str]()
    assert overlay.unhide(ONE)
    overlay.hide(ONE)
    assert overlay.is_hidden(ONE)


def test_what_is_placed_stands_in_its_field_only_until_it_is_displaced() -> None:
    overlay = Overlay[str]()
    overlay.place(FIELD, "x.pdf", "draft")
    overlay.place(FIELD, "y.pdf", "other")
    assert overlay.placed(FIELD, "x.pdf") == "draft"
    assert overlay.placed(OTHER, "x.pdf") is None
    assert dict(overlay.names(FIELD)) == {"x.pdf": "draft", "y.pdf": "other"}
    assert dict(overlay.names(OTHER)) == {}
    assert overlay.displace(FIELD, "x.pdf") == "draft"
    assert overlay.displace(FIELD, "x.pdf") is None
    assert overlay.displace(OTHER, "x.pdf") is None
    assert dict(overlay.names(FIELD)) == {"y.pdf": "other"}


def test_the_last_one_placed_under_a_name_stands_there() -> None:
    overlay = Overlay[str]()
    overlay.place(FIELD, "x", "old")
    overlay.place(FIELD, "x", "new")
    assert overlay.placed(FIELD, "x") == "new"
    assert overlay.statistics() == {"hidden": 0, "placed": 1}


def test_an_emptied_field_leaves_nothing_behind() -> None:
    overlay = Overlay[str]()
    overlay.place(FIELD, "x", "node")
    overlay.hide(ONE)
    assert repr(overlay) == "<Overlay 1 hidden, 1 placed in 1 fields>"
    overlay.displace(FIELD, "x")
    overlay.unhide(ONE)
    assert repr(overlay) == "<Overlay 0 hidden, 0 placed in 0 fields>"
