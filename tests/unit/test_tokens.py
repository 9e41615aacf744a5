"""Where tokens come from, and that they stay secret."""

from pathlib import Path

import pytest
import trio
from pydantic import SecretStr
from trio.testing import MockClock

from aerofs.errors import ConfigError, UnavailableError
from aerofs.platform.tokens import FixedToken, TokenCommand, TokenFile, Tokens
from aerofs.settings import Settings


class Script:
    """A source that says one thing after another, slowly."""

    def __init__(self, *says: str) -> None:
        self.says = list(says)
        self.asked = 0

    async def read(self) -> str:
        self.asked += 1
        await trio.sleep(1)
        return self.says.pop(0)


def settings(tmp_path: Path, **given: object) -> Settings:
    return Settings.model_validate(
        {"url": "https://aero.example", "environment": "e", "mountpoint": tmp_path / "mnt", **given},
    )


async def test_the_source_is_asked_once(autojump_clock: MockClock) -> None:  # noqa: ARG001 -- it sets the clock
    source = Script(" secret\n")
    tokens = Tokens(source)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(tokens.current)
    assert await tokens.current() == "secret"
    assert source.asked == 1


async def test_renewals_that_come_together_ask_the_source_once(autojump_clock: MockClock) -> None:  # noqa: ARG001 -- it sets the clock
    source = Script("old", "new")
    tokens = Tokens(source)
    old = await tokens.current()
    found: list[str | None] = []

    async def renew() -> None:
        found.append(await tokens.renewed(refused=old))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(renew)
    assert found == ["new"] * 5
    assert source.asked == 2
    assert tokens.renewals == 1


async def test_a_source_that_says_the_same_again_has_no_other_token() -> None:
    tokens = Tokens(FixedToken(SecretStr("secret")))
    assert await tokens.renewed(refused=await tokens.current()) is None


async def test_a_file_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one\n")
    tokens = Tokens.of(settings(tmp_path, token_file=path))
    assert await tokens.current() == "one"
    path.write_text("two\n")
    assert await tokens.renewed(refused="one") == "two"
    path.unlink()
    with pytest.raises(UnavailableError, match="cannot be read") as caught:
        await tokens.renewed(refused="two")
    assert caught.value.unsent


async def test_a_file_that_is_missing_at_first_is_a_mistake_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="token file"):
        await Tokens(TokenFile(tmp_path / "none")).current()


async def test_a_command_is_run_by_the_shell(tmp_path: Path) -> None:
    tokens = Tokens.of(settings(tmp_path, token_command="printf '%s\\n' a | tr a b"))
    assert await tokens.current() == "b"


async def test_a_command_that_fails_shows_what_it_said_but_not_its_arguments() -> None:
    command = TokenCommand("sh -c 'echo printed; echo went wrong >&2; exit 3' --password=hidden")
    with pytest.raises(ConfigError) as caught:
        await command.read()
    assert "status 3: went wrong" in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert "printed" not in str(caught.value)


async def test_a_command_that_hangs_is_ended() -> None:
    with pytest.raises(ConfigError, match="within"):
        await TokenCommand("exec sleep 60", deadline=0.1).read()


@pytest.mark.parametrize("told", ["", " \n", "two words", "a\nb", "ü"])
async def test_what_cannot_be_a_token_is_refused_without_being_shown(told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await Tokens(FixedToken(SecretStr(told))).current()
    assert not told.strip() or told not in str(caught.value)


def test_without_a_source_there_are_no_tokens(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no token"):
        Tokens.of(settings(tmp_path, token="t").model_copy(update={"token": None}))


async def test_a_token_is_in_no_repr(tmp_path: Path) -> None:
    tokens = Tokens.of(settings(tmp_path, token="very-secret"))
    await tokens.current()
    assert "very-secret" not in repr(tokens)
    assert "FixedToken" in repr(tokens)
