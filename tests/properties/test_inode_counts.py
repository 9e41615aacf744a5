from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aerofs.namespace.inodes import ROOT, InodeTable

KEYS = st.sampled_from([f"a{n}" for n in range(8)])


class Inodes(RuleBasedStateMachine):
    """A table whose hash nearly always collides, beside three plain dictionaries."""

    def __init__(self) -> None:
        super().__init__()
        self.table: InodeTable[str] = InodeTable("root", number_of=lambda key: int(key[1:]) // 4)
        self.numbers: dict[str, int] = {}
        self.lookups: dict[int, int] = {}
        self.pins: dict[int, int] = {}

    def dropped(self, number: int) -> bool:
        if self.lookups[number] or self.pins[number]:
            return False
        del self.lookups[number], self.pins[number]
        self.numbers = {key: own for key, own in self.numbers.items() if own != number}
        return True

    @rule(key=KEYS)
    def number(self, key: str) -> None:
        number = self.table.number_for(key)
        assert number == self.numbers.get(key, number)
        if key not in self.numbers:
            assert number not in self.lookups
            self.numbers[key], self.lookups[number], self.pins[number] = number, 0, 0
        self.table.bind(number, f"node {number}")

    @precondition(lambda self: self.lookups)
    @rule(data=st.data(), n=st.integers(1, 3))
    def remember(self, data: st.DataObject, n: int) -> None:
        number = data.draw(st.sampled_from(sorted(self.lookups)))
        self.table.remember(number, n)
        self.lookups[number] += n

    @precondition(lambda self: self.lookups)
    @rule(data=st.data(), n=st.integers(1, 5))
    def forget(self, data: st.DataObject, n: int) -> None:
        number = data.draw(st.sampled_from(sorted(self.lookups)))
        self.lookups[number] = max(0, self.lookups[number] - n)
        assert self.table.forget(number, n) == self.dropped(number)

    @precondition(lambda self: self.lookups)
    @rule(data=st.data())
    def pin(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.lookups)))
        self.table.pin(number)
        self.pins[number] += 1

    @precondition(lambda self: self.lookups)
    @rule(data=st.data())
    def unpin(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.lookups)))
        self.pins[number] = max(0, self.pins[number] - 1)
        assert self.table.unpin(number) == self.dropped(number)

    @precondition(lambda self: self.lookups)
    @rule(data=st.data(), key=KEYS)
    def also(self, data: st.DataObject, key: str) -> None:
        number = data.draw(st.sampled_from(sorted(self.lookups)))
        self.table.also(number, key)
        self.numbers[key] = number

    @rule(number=st.integers(2, 20), key=KEYS)
    def claim(self, number: int, key: str) -> None:
        free = number not in self.lookups and key not in self.numbers
        assert self.table.claim(number, key) == free
        if free:
            self.numbers[key], self.lookups[number], self.pins[number] = number, 0, 0
            self.table.bind(number, f"node {number}")

    @invariant()
    def the_table_holds_exactly_what_is_needed(self) -> None:
        assert set(self.table) == {ROOT, *self.lookups}
        assert self.table.node(ROOT) == "root"
        for number, count in self.lookups.items():
            assert self.table.lookups(number) == count
            assert self.table.node(number) == f"node {number}"
        for key, number in self.numbers.items():
            assert self.table.number_for(key) == number


TestInodes = Inodes.TestCase
TestInodes.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
