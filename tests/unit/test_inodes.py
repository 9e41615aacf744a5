import pytest

from aerofs.namespace.inodes import ROOT, InodeTable, hashed


def test_the_root_is_one_and_never_goes() -> None:
    table = InodeTable("root")
    assert table.node(ROOT) == "root"
    assert not table.forget(ROOT, 5)
    assert not table.unpin(ROOT)
    assert table.node(ROOT) == "root"


def test_a_key_has_the_same_number_in_every_table() -> None:
    assert InodeTable("r").number_for("a1") == InodeTable("r").number_for("a1") == hashed("a1")
    assert ROOT < hashed("a1") < 2**63


@pytest.mark.parametrize("start", [0, 1, 2**63 - 1])
def test_a_taken_or_impossible_number_is_passed_over(start: int) -> None:
    table = InodeTable("root", number_of=lambda _: start)
    numbers = [table.number_for(key) for key in "abc"]
    assert len(set(numbers)) == 3
    assert all(ROOT < number < 2**63 for number in numbers)
    assert [table.number_for(key) for key in "abc"] == numbers


def test_an_entry_goes_with_the_last_lookup() -> None:
    table = InodeTable("root")
    number = table.number_for("a1")
    table.bind(number, "node")
    table.remember(number)
    table.remember(number, 2)
    assert table.lookups(number) == 3
    assert not table.forget(number, 2)
    assert table.node(number) == "node"
    assert table.forget(number, 1)
    assert table.node(number) is None
    assert number not in table


def test_forgetting_what_is_not_known_changes_nothing() -> None:
    table = InodeTable("root")
    assert not table.forget(4711, 1)
    assert not table.unpin(4711)
    assert table.lookups(4711) == 0


def test_a_pinned_entry_outlives_its_lookups() -> None:
    table = InodeTable("root")
    number = table.number_for("a1")
    table.pin(number)
    table.remember(number)
    assert not table.forget(number, 1)
    assert table.unpin(number)


def test_a_reservation_that_came_to_nothing_is_released() -> None:
    table = InodeTable("root")
    assert table.release(table.number_for("a1"))
    assert len(table) == 1


def test_a_number_stays_with_a_node_whose_id_changes() -> None:
    table = InodeTable("root")
    number = table.number_for("a1")
    table.also(number, "a2")
    assert table.number_for("a2") == number
    table.remember(number)
    table.forget(number, 1)
    assert table.number_for("a2") == hashed("a2")


def test_a_key_can_move_to_another_number() -> None:
    table = InodeTable("root")
    one, other = table.number_for("a1"), table.number_for("a2")
    table.also(other, "a1")
    assert table.number_for("a1") == other
    assert table.release(one)
    assert table.number_for("a1") == other


def test_a_remembered_number_is_claimed_only_where_it_and_the_key_are_free() -> None:
    table = InodeTable("root")
    assert table.claim(77, "a1")
    assert table.number_for("a1") == 77
    assert not table.claim(77, "a2")
    assert not table.claim(78, "a1")
    assert not table.claim(ROOT, "a3")
    assert not table.claim(2**63, "a3")


def test_the_table_tells_its_size() -> None:
    table = InodeTable("root")
    table.number_for("a1")
    assert table.statistics() == {"inodes": 2, "pinned": 1}
    assert repr(table) == "<InodeTable of 2>"
    assert set(table) == {ROOT, hashed("a1")}
