"""The -o words of mount(8)."""

import pytest

from aerofs.cli.mount_options import parse
from aerofs.errors import ConfigError


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        (["ro"], {"read_only": True}),
        (["ro,rw"], {"read_only": False}),
        (
            ["allow_other,uid=1000,gid=100,umask=077"],
            {"allow_other": True, "uid": "1000", "gid": "100", "umask": "077"},
        ),
        (["environment=e1", "close-wait=5m"], {"environment": "e1", "close_wait": "5m"}),
        (["token_file=/etc/aero/token"], {"token_file": "/etc/aero/token"}),
        (["token_command=print-token a\\,b,ro"], {"token_command": "print-token a,b", "read_only": True}),
        (["read_only=no"], {"read_only": "no"}),
        (["_netdev,noauto,nofail,user,users,defaults,nosuid,nodev,noexec,noatime,relatime,sync"], {}),
        (["x-systemd.automount,x-gvfs-show,comment=a drive,X-mount.mkdir"], {}),
        (["", "ro,,"], {"read_only": True}),
    ],
)
def test_words_become_settings(words: list[str], settings: dict[str, object]) -> None:
    assert parse(words) == (settings, {})


def test_profile_and_config_are_told_apart() -> None:
    assert parse(["profile=work,config=/etc/aerofs.toml"]) == (
        {},
        {"profile": "work", "config": "/etc/aerofs.toml"},
    )


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("colour=red", "unknown mount option 'colour'"),
        ("nonempty", "unknown mount option 'nonempty'"),
        ("uid", "mount option uid needs a value"),
        ("profile", "mount option profile needs a value"),
        ("dialect={}", "mount option dialect belongs in a profile"),
        ("token=hush", "a token in the options would be seen by every user"),
    ],
)
def test_a_mistake_is_told_and_a_token_is_not_repeated(word: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        parse([word])
    assert "hush" not in str(caught.value)
