"""Walks: steps of a state machine that were drawn before the first of them is taken.

Hypothesis repeats what it has seen, and calls a machine flaky that once does this and once that. Through a real mount
things take the time that they take, so that the same steps may well meet another drive. There nothing that is drawn may
hang on what happens: hypothesis only draws here, and a failure is told as what it is, at once, with its steps.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import Rule

from tests.properties.programs import Programs


@dataclass(frozen=True, slots=True)
class Step:
    """A rule, and what it is called with."""

    rule: Rule = field(repr=False)
    given: Mapping[str, Any]

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.given.items())
        return f"{self.rule.function.__name__}({given})"


def walks(machine: type[Programs], number: int, *, count: int, length: int) -> Iterator[list[Step]]:
    """So many walks of that length; the same number draws the same ones."""
    rules = sorted(machine.setup_state().rules, key=lambda rule: rule.function.__name__)
    assert not any(rule.preconditions for rule in rules), (
        "a rule itself has to see whether it has anything to do"
    )
    # Not every rule in every walk: what happens seldom among all of them is frequent among a few.
    chosen = st.lists(st.sampled_from(rules), min_size=len(rules) // 2, unique_by=id)
    walk = chosen.flatmap(
        lambda rules: st.lists(st.one_of([_steps(rule) for rule in rules]), min_size=length, max_size=length)
    )
    found: list[list[Step]] = []

    @seed(number)
    @settings(
        max_examples=count + 1,
        phases=(Phase.generate,),
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(walk)
    def draw(walk: list[Step]) -> None:
        found.append(walk)

    draw()
    yield from found[1:]  # the first is the simplest: the same step all the way


def _steps(rule: Rule) -> st.SearchStrategy[Step]:
    return st.builds(Step, st.just(rule), st.fixed_dictionaries(rule.arguments))


def take(machine: type[Programs], walk: list[Step]) -> None:
    """Take the steps, and reckon.

    Raises:
        AssertionError: Whatever went wrong, as it was raised, with the steps that were taken.
    """
    taken: list[str] = []
    try:
        running = machine()
        try:
            for step in walk:
                taken.append(str(step))
                step.rule.function(running, **step.given)
        except BaseException:
            running.broken_off = True
            raise
        finally:
            running.teardown()
    except Exception as error:
        error.add_note("\n".join(["The steps:", *taken]))
        raise
