# Look-alikes of ordinary characters are what is tested here:
# ruff: noqa: RUF001

from collections.abc import Mapping

from hypothesis import assume, given
from hypothesis import strategies as st

from aerofs.errors import AerofsError
from aerofs.namespace import names

AWKWARD = st.sampled_from(
    ["/", "∕", "‛", ".", "․", "∅", "\0", "\n", "␀", "␊", "␡", "\x7f", " ", "(", ")", "a", "é"]
)
TITLES = st.one_of(st.text(), st.text(AWKWARD), st.text(AWKWARD, max_size=4))
IDS = st.text("0123456789abcdef", min_size=1, max_size=24)


def is_valid(name: str) -> bool:
    return (
        name not in ("", ".", "..")
        and not any(ord(character) < 0x20 or character in "/\x7f" for character in name)
        and len(name.encode()) <= names.MAXIMUM_BYTES
    )


@given(TITLES)
def test_every_title_has_a_valid_name_that_leads_back_to_it(title: str) -> None:
    name = names.encode(title)
    assert is_valid(name)
    assume(len(title.encode()) <= 80)  # no escape makes more than three bytes of one
    assert names.decode(name) == title


@given(TITLES, TITLES)
def test_different_titles_have_different_names(one: str, other: str) -> None:
    assert (names.encode(one) == names.encode(other)) == (one == other)


@given(st.one_of(TITLES, st.text(min_size=100, max_size=300)))
def test_a_name_that_a_user_may_create_is_the_name_that_will_stand_there(name: str) -> None:
    try:
        title = names.check_new(name)
    except AerofsError:
        return
    assert is_valid(name)
    assert names.encode(title) == name


@given(
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x2000, exclude_characters='/"\x7f'), min_size=1)
)
def test_an_ordinary_name_is_its_own_title(name: str) -> None:
    assume(name not in (".", "..") and len(name.encode()) <= names.MAXIMUM_BYTES)
    assert names.decode(name) == name
    assert names.check_new(name) == name


@given(
    entries=st.lists(
        st.tuples(IDS, st.one_of(st.sampled_from(["x.pdf", "x (000000).pdf", "y" * 300]), TITLES))
    ),
    previous=st.dictionaries(IDS, st.sampled_from(["x.pdf", "x (000000).pdf", "old"])),
    extensions=st.booleans(),
)
def test_siblings_have_different_valid_names_and_keep_them(
    *, entries: list[tuple[str, str]], previous: Mapping[str, str], extensions: bool
) -> None:
    told = names.tell_apart(entries, previous, extensions=extensions)
    assert list(told) == list(dict.fromkeys(identity for identity, _ in entries))
    assert len(set(told.values())) == len(told)
    assert all(map(is_valid, told.values()))
    for identity in told:
        rivals = [other for other in told if previous.get(other) == previous.get(identity, 0)]
        if rivals and rivals[0] == identity:
            assert told[identity] == previous[identity]
    assert names.tell_apart(entries[::-1], told, extensions=extensions) == told
