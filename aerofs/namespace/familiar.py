"""File names with a meaning of their own: private to this machine, the bin, or only ever probed for.

Pure predicates on bare file names. What becomes of such a file is the filesystem's and the store's decision.
"""

import re
from fnmatch import translate
from typing import Final

_LOCAL: Final = re.compile(
    "|".join(
        translate(pattern)
        for pattern in (
            ".~lock.*#",
            ".*.sw?",
            ".*.sw??",
            "4913",
            "*~",
            ".#*",
            "#*#",
            "~$*",
            ".goutputstream-*",
            "lu*.tmp",
            "*.part",
            "*.crdownload",
            "*-journal",
            "*-wal",
            "*-shm",
            ".DS_Store",
            "._*",
            "Thumbs.db",
            "desktop.ini",
        )
    )
)
_TEMPORARY: Final = re.compile(
    r"""
    sed[A-Za-z0-9]{6}               # sed -i
    | \..+\.[A-Za-z0-9]{6}          # rsync
    | .+\.(?![a-z]{6}|[A-Z]{6}|[0-9]{6})[A-Za-z0-9]{6}  # GLib and Qt; `.sketch` and `.202611` were hardly drawn by lot
    | XX[A-Za-z0-9]{6}              # perl -i
    | tmp[A-Za-z0-9]{6}             # Emacs
    | tmp[a-z0-9_]{8}(\..*)?        # Python
    """,
    re.DOTALL | re.VERBOSE,
)
_TRASH: Final = re.compile(r"\.Trash(-.*)?", re.DOTALL)
_PROBED: Final = frozenset(
    {
        # Version control and projects: shells' prompts, editors and language servers, wherever they come.
        *(
            ".git",
            "HEAD",
            ".hg",
            ".svn",
            "_svn",
            ".bzr",
            ".jj",
            ".sl",
            ".pijul",
            "_darcs",
            "_FOSSIL_",
            ".fslckout",
        ),
        *(".gitignore", ".gitattributes", ".hgignore", ".ignore", ".rgignore", ".fdignore", ".editorconfig"),
        *(
            ".envrc",
            ".env",
            ".venv",
            ".python-version",
            ".node-version",
            ".nvmrc",
            ".ruby-version",
            ".java-version",
        ),
        *(".tool-versions", ".mise.toml", "mise.toml", ".project", ".vscode", ".idea"),
        *(".dir-locals.el", ".dir-locals-2.el", "_MTN"),
        # File managers and desktops.
        *(".hidden", ".directory", "autorun.inf", "autorun.sh", ".autorun", ".autostart", ".xdg-volume-info"),
        *(
            ".comments",
            ".thumbnails",
            ".sh_thumbnails",
            ".nomedia",
            ".VolumeIcon.icns",
            "desktop.ini",
            "Desktop.ini",
        ),
        *("Thumbs.db", ".DS_Store", ".localized", ".Spotlight-V100", ".metadata_never_index", ".fseventsd"),
        *(".TemporaryItems", ".trackerignore", ".nobackup", "CACHEDIR.TAG", ".htaccess", "VIDEO_TS", "BDMV"),
        *(".discinfo", "lost+found", ".snapshots", ".snapshot", "System Volume Information", "$RECYCLE.BIN"),
    }
)
_PROBED_PREFIXES: Final = ("._", ".#", ".~lock.", ".Trash", ".goutputstream-")


def is_local(name: str) -> bool:
    """Tell whether a name never leaves this machine: locks, swap files, backups, parts of downloads."""
    return _LOCAL.match(name) is not None


def looks_temporary(name: str) -> bool:
    """Tell whether programs make up such names for files that they mean to rename, always with O_EXCL."""
    return _TEMPORARY.fullmatch(name) is not None


def is_passing(name: str, *, exclusive: bool) -> bool:
    """Tell whether a new file (`exclusive`: made with O_EXCL) is most likely about to be renamed."""
    return name.endswith(".tmp") or (exclusive and looks_temporary(name))


def is_trash(name: str) -> bool:
    """Tell whether file managers would keep deleted files in a directory of that name."""
    return _TRASH.fullmatch(name) is not None


def probed(name: str) -> bool:
    """Tell whether programs look for this name wherever they come: no request is worth it above the files.

    Only names that no definition, document or field will ever have: an order may well be number 4913.
    """
    return name in _PROBED or name.startswith(_PROBED_PREFIXES)
