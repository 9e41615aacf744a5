"""The `-o` words of mount(8) as settings. Pure; what the values mean is checked where all settings are.

Source: mount(8), "FILESYSTEM-INDEPENDENT MOUNT OPTIONS"; fstab(5).
"""

import re
from collections.abc import Iterable

from aerofs.errors import ConfigError
from aerofs.settings import Settings

_FLAGS: dict[str, tuple[str, bool]] = {
    "ro": ("read_only", True),
    "rw": ("read_only", False),
    "allow_other": ("allow_other", True),
    "insecure_http": ("insecure_http", True),
}
_OF_OTHERS = re.compile(
    r"""_netdev | nofail | (no)?auto | (no)?users? | owner | group | defaults | default_permissions
    | (no)?(suid|dev|exec|mand|iversion|atime|diratime|relatime|strictatime|lazytime) | a?sync | silent | loud
    | (x-|X-|comment=).*""",
    re.VERBOSE,
)
"""What mount(8), fstab and systemd say to each other, or what is so anyway."""


def parse(words: Iterable[str]) -> tuple[dict[str, object], dict[str, str]]:
    r"""Take `-o` values apart: settings by name; and `config`, `profile` where they are given.

    A comma within a value is written `\,`. The later of two words counts.

    Raises:
        ConfigError: A word that is neither a setting nor known to mount(8), or a secret.
    """
    settings: dict[str, object] = {}
    whence: dict[str, str] = {}
    for word in (word for group in words for word in _split(group)):
        name, equals, value = word.partition("=")
        name = name.strip().replace("-", "_")
        if not word or _OF_OTHERS.fullmatch(word):
            continue
        if name == "token":
            raise ConfigError(
                "a token in the options would be seen by every user of this machine; "
                "give AEROFS_TOKEN, token_file or token_command"
            )
        if not equals and name in _FLAGS:
            setting, flag = _FLAGS[name]
            settings[setting] = flag
        elif equals and name in {"config", "profile"}:
            whence[name] = value
        elif (
            equals and name in Settings.model_fields and name not in {"mountpoint", "definitions", "dialect"}
        ):
            settings[name] = value
        elif name in Settings.model_fields or name in {"config", "profile"}:
            raise ConfigError(f"mount option {name} {'belongs in a profile' if equals else 'needs a value'}")
        else:
            raise ConfigError(f"unknown mount option {name!r}")
    return settings, whence


def _split(group: str) -> list[str]:
    return [word.replace("\\,", ",") for word in re.split(r"(?<!\\),", group)]
