"""The state machine can fail: drives with a mistake in them do not pass."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test

from aerofs.content.actions import Actions
from aerofs.content.making_room import MakingRoom
from aerofs.content.recognition import Recognition
from aerofs.content.retiring import Retiring
from aerofs.content.runner import Runner
from aerofs.content.steps import Performer
from aerofs.content.work import Work
from aerofs.errors import AerofsError
from aerofs.filesystem.unlinking import Unlinking
from tests.properties.test_filesystem_against_a_model import USUAL, SimulatedDrive

Patch = Callable[[pytest.MonkeyPatch], None]


def _the_old_version_stays(patch: pytest.MonkeyPatch) -> None:
    async def retire_all(self: Retiring, put: Any) -> None:
        del self, put

    patch.setattr(Retiring, "retire_all", retire_all)


def _a_retry_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    async def failed(self: Runner, work: Work, error: AerofsError, **rest: Any) -> None:
        del self, rest
        work.error = error
        work.dropped = True

    patch.setattr(Runner, "_failed", failed)


def _deleted_by_name(patch: pytest.MonkeyPatch) -> None:
    by_id = Actions.delete

    async def delete(self: Actions, place: Any, attachment: Any, **_instead: Any) -> Any:
        standing = await self.standing(place)
        title = next((each.name for each in standing if each.id == attachment), None)
        named = [each.id for each in standing if each.name == title]
        return await by_id(self, place, named[-1] if named else attachment)

    patch.setattr(Actions, "delete", delete)


def _sent_twice_after_a_lost_answer(patch: pytest.MonkeyPatch) -> None:
    async def ours(self: Recognition, row: Any, standing: Any, *, certain: bool) -> None:
        del self, row, standing, certain

    patch.setattr(Recognition, "ours", ours)


def _a_removed_save_goes_on(patch: pytest.MonkeyPatch) -> None:
    async def withdraw(self: Unlinking, work: Work, **rest: Any) -> None:
        del self, work, rest

    patch.setattr(Unlinking, "withdraw", withdraw)


def _replaces_whatever_is_there(patch: pytest.MonkeyPatch) -> None:
    async def add_to_full(self: Performer, put: Any) -> None:
        await self._add(put, instead_of=put.row.retire[-1])

    patch.setattr(Performer, "_add_to_full", add_to_full)


def _what_made_room_is_not_put_back(patch: pytest.MonkeyPatch) -> None:
    async def put_back(self: MakingRoom, put: Any, secured: Any) -> None:
        await self.release(put, secured)

    patch.setattr(MakingRoom, "put_back", put_back)


MISTAKES = [
    _replaces_whatever_is_there,
    _what_made_room_is_not_put_back,
    _the_old_version_stays,
    _a_retry_is_forgotten,
    _deleted_by_name,
    _sent_twice_after_a_lost_answer,
    _a_removed_save_goes_on,
]


@pytest.mark.complains
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_drive_with_a_mistake_in_it_is_found_out(mistake: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    mistake(monkeypatch)
    machine = type("SimulatedDrive", (SimulatedDrive,), {})
    with pytest.raises(AssertionError):  # in the end, or by a program on the way
        run_state_machine_as_test(seed(1)(machine), settings=settings(USUAL, max_examples=150))
