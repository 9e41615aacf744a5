# Look-alikes of ordinary characters are what is tested here:
# ruff: noqa: RUF001

import pytest

from aerofs.errors import IllegalBytesError, InvalidNameError, NameTooLongError
from aerofs.namespace import names
from aerofs.namespace.familiar import is_local, is_passing, is_trash, looks_temporary, probed


@pytest.mark.parametrize(
    "title",
    [
        "cdv_photo_001.jpg",
        "bdr:200¡adm:05¡prj:6",
        "Übersicht 2026 (final).pdf",
        "a\\b",
        "100%2F.txt",
        "／",
        "‛",
        "...",
    ],
)
def test_an_ordinary_title_is_its_own_name(title: str) -> None:
    assert names.encode(title) == title
    assert names.decode(title) == title


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("a/b.pdf", "a∕b.pdf"),
        ("a∕b", "a‛∕b"),
        ("a‛/b", "a‛‛∕b"),
        ("a‛∕b", "a‛‛‛∕b"),
        ("", "∅"),
        ("∅", "‛∅"),
        (".", "․"),
        ("..", "․․"),
        ("․․", "‛․․"),
        ("one\r\ntwo\0", "one␍␊two␀"),
        ("\x7f", "␡"),
    ],
)
def test_what_a_file_name_cannot_hold_is_shown_by_a_look_alike(title: str, name: str) -> None:
    assert names.encode(title) == name
    assert names.decode(name) == title


def test_a_long_title_is_shortened_to_255_bytes_and_keeps_its_extension() -> None:
    name = names.encode("é" * 300 + ".tar.gz")
    assert len(name.encode()) <= 255
    assert name.endswith(".tar.gz")
    assert name == names.encode("é" * 300 + ".tar.gz")
    assert name != names.encode("é" * 301 + ".tar.gz")


def test_a_title_with_a_lone_surrogate_has_a_name() -> None:
    assert names.encode("a\ud800b.pdf") == "a\ufffdb.pdf"


def test_a_name_that_may_be_created_gives_the_title_to_send() -> None:
    assert names.check_new("Rechnung 5.pdf") == "Rechnung 5.pdf"
    assert names.check_new("a∕b".encode()) == "a/b"


@pytest.mark.parametrize("name", [b"\xff.txt", "\udcff.txt"])
def test_a_name_that_is_not_utf8_is_refused(name: bytes | str) -> None:
    with pytest.raises(IllegalBytesError):
        names.check_new(name)


def test_a_name_of_more_than_255_bytes_is_refused() -> None:
    assert names.check_new("é" * 127)
    with pytest.raises(NameTooLongError):
        names.check_new("é" * 128)


@pytest.mark.parametrize(
    "name",
    ['say "hi".txt', "a\nb", "a\rb", "a␊b", "a␀", "tab\there", "\x1b[31m", "∅", "", ".", "..", "a/b", "a\0"],
)
def test_a_name_that_cannot_be_carried_is_refused(name: str) -> None:
    with pytest.raises(InvalidNameError):
        names.check_new(name)


def test_the_first_of_a_title_keeps_the_bare_name_and_others_get_their_ids_last_digits() -> None:
    assert names.tell_apart([("id000001", "x.pdf"), ("id000002", "x.pdf"), ("id000003", "y")]) == {
        "id000001": "x.pdf",
        "id000002": "x (000002).pdf",
        "id000003": "y",
    }


def test_a_real_title_that_looks_like_a_tag_comes_before_the_tag() -> None:
    told = names.tell_apart([("a0000001", "x"), ("b0000002", "x"), ("c0000003", "x (000002)")])
    assert told == {"a0000001": "x", "b0000002": "x (b0000002)", "c0000003": "x (000002)"}


def test_ids_with_equal_last_digits_show_more_of_them() -> None:
    told = names.tell_apart([("z", "x"), ("a1000000", "x"), ("b2000000", "x")])
    assert sorted(told.values()) == ["x", "x (000000)", "x (b2000000)"]


def test_a_name_stays_with_its_id_as_long_as_that_is_known() -> None:
    first = names.tell_apart([("a0000001", "x"), ("b0000002", "x")])
    assert names.tell_apart([("b0000002", "x")], first) == {"b0000002": "x (000002)"}
    assert names.tell_apart([("c0000003", "x"), ("a0000001", "x")], first) == {
        "c0000003": "x (000003)",
        "a0000001": "x",
    }


def test_a_tag_on_a_long_name_leaves_it_within_255_bytes() -> None:
    told = names.tell_apart([(f"{n:024x}", "ü" * 200 + ".pdf") for n in range(3)])
    assert len(set(told.values())) == 3
    assert all(len(name.encode()) <= 255 and name.endswith(".pdf") for name in told.values())


def test_a_directorys_tag_stands_at_the_end_whatever_dots_it_has() -> None:
    told = names.tell_apart([("a0000001", "v1.2"), ("b0000002", "v1.2")], extensions=False)
    assert told["b0000002"] == "v1.2 (000002)"
    assert names.told_apart("v1.2 (000002)") == ("v1.2", "000002")
    assert names.told_apart("v1.2") is None


@pytest.mark.parametrize(
    "name",
    [
        *(".~lock.a.odt#", ".a.swp", ".a.swpx", "4913", "a~", ".#a", "#a#", "~$a.docx", ".goutputstream-X1"),
        *("lu12ab.tmp", "a.part", "a.crdownload", "a-journal", "a-wal", "a-shm", ".DS_Store", "._a"),
        *("Thumbs.db", "desktop.ini"),
    ],
)
def test_lock_swap_and_temporary_names_never_leave_this_machine(name: str) -> None:
    assert is_local(name)


@pytest.mark.parametrize(
    "name", ["a.pdf", "swp", "49130", "a.tmp", "sedAb12xY", ".a.pdf.Ab12xY", ".hidden", "#a"]
)
def test_other_names_are_real(name: str) -> None:
    assert not is_local(name)


@pytest.mark.parametrize(
    "name",
    [
        *("sedAb12xY", ".a.pdf.Ab12xY", ".a.pdf.123456", "a.pdf.Ab12xY", "a.pdf.ab12xy", "XX2tAMQs"),
        *("tmp0eod3z", "tmpa_b2c3d4", "tmpa_b2c3d4.pdf"),
    ],
)
def test_names_that_programs_make_up_to_rename_them_look_temporary(name: str) -> None:
    assert looks_temporary(name)


@pytest.mark.parametrize(
    "name",
    ["sediment", "house.sketch", "HOUSE.SKETCH", "daily.202611", "a.pdf.Ab12x", "tmp", "tmp.pdf", "XX12345"],
)
def test_names_that_people_choose_do_not_look_temporary(name: str) -> None:
    assert not looks_temporary(name)


def test_a_new_file_is_passing_if_made_so_or_named_so() -> None:
    assert is_passing("sedAb12xY", exclusive=True)
    assert not is_passing("sedAb12xY", exclusive=False)
    assert is_passing("a.pdf.tmp", exclusive=False)
    assert not is_passing("a.pdf", exclusive=True)


def test_the_trash_of_file_managers_is_known() -> None:
    assert is_trash(".Trash-1000")
    assert is_trash(".Trash")
    assert not is_trash("Trash")


def test_probed_names_are_known_but_no_name_that_a_document_may_have() -> None:
    assert all(map(probed, (".git", ".hidden", "autorun.inf", ".Trash", ".Trash-0", "HEAD", ".envrc", "._x")))
    assert all(map(probed, (".dir-locals.el", ".dir-locals-2.el", "_MTN")))
    assert not any(map(probed, ("4913", "sales-journal", "CVS", "invoice", "INV-1", "x.part")))


def test_a_name_finds_the_first_that_looks_the_same() -> None:
    composed, taken_apart = "Z\u00fcrich", "Zu\u0308rich"
    assert names.look_alike(taken_apart, ["a", composed]) == composed
    assert names.look_alike("a", ["a"]) is None  # what is ASCII has one form only, and that is found before
