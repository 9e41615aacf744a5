"""Editors as people use them: which keys change a file, save it, and leave; what they keep on this machine."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.mounted import eventually
from tests.programs.terminal import Terminal

FILE = "notes.txt"
BACKUP = f"{FILE}~"
BEFORE, ONCE, TWICE = b"one\ntwo\n", b"one\ntwo\nthree\n", b"one\ntwo\nthree\nfour\n"
Keys = Callable[[Terminal], None]


@dataclass(frozen=True)
class Editor:
    """One editor with one set of settings.

    Attributes:
        title: As the table of costs calls it.
        command: What opens the file.
        once, again: Add a line, save, and wait until the editor says that it has.
        add, leave: Add the second line and save, without waiting; end, whatever is unsaved.
        asks: What it says before it goes over a file that is not the one it wrote.
        no: The answer.
        meanwhile: What it keeps on this machine while the file is open.
        after: What it leaves there.
        vimrc: Settings of vim.
    """

    title: str
    command: str
    once: Keys
    again: Keys
    add: Keys
    leave: Keys
    asks: str
    no: Keys
    meanwhile: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    vimrc: str = ""


def vim(settings: str = "", *after: str) -> Editor:
    """Vim; `settings` are lines of a .vimrc."""

    def once(terminal: Terminal) -> None:
        terminal.type("Gothree\x1b:w\n")
        terminal.shows("3L, 14B written")

    def add(terminal: Terminal) -> None:
        terminal.type("ofour\x1b:w\n")

    def again(terminal: Terminal) -> None:
        add(terminal)
        terminal.shows("4L, 19B written")

    def leave(terminal: Terminal) -> None:
        def left() -> bool:
            # After a question, vim drops what was typed too early: until it is heard.
            with contextlib.suppress(AssertionError):
                terminal.type("\x1b:q!\n")
            time.sleep(0.2)
            return not terminal.runs

        eventually(left, what="the end of vim")

    return Editor(
        f"vim, `{settings}`" if settings else "vim",
        f"vim {FILE}",
        once,
        again,
        add,
        leave,
        asks="Do you really want to write to it (y/n)?",
        no=lambda terminal: terminal.type("n"),
        meanwhile=(f".{FILE}.swp", *after),
        after=after,
        vimrc=f"source $VIMRUNTIME/defaults.vim\n{settings}\n",
    )


def nano(options: str = "", *after: str) -> Editor:
    """GNU nano, as Debian configures it: with a lock file."""

    def once(terminal: Terminal) -> None:
        terminal.press("M-/")
        terminal.type("three")
        terminal.press("C-s")
        terminal.shows("Wrote 3 lines")

    def add(terminal: Terminal) -> None:
        terminal.press("M-/")
        terminal.type("four")
        terminal.press("C-s")

    def again(terminal: Terminal) -> None:
        add(terminal)
        terminal.shows("Wrote 4 lines")

    def leave(terminal: Terminal) -> None:
        terminal.press("C-x")
        eventually(lambda: not terminal.runs or "Save modified buffer" in terminal.screen())
        if terminal.runs:
            terminal.type("n")

    return Editor(
        f"`nano {options}`" if options else "nano",
        f"nano {options} {FILE}",
        once,
        again,
        add,
        leave,
        asks="File on disk has changed",
        no=lambda terminal: terminal.type("n"),
        meanwhile=(f".{FILE}.swp", *after),
        after=after,
    )


def emacs(settings: str = "", *after: str) -> Editor:
    """Emacs, with a lock and an autosave file while something is unsaved."""

    def once(terminal: Terminal) -> None:
        terminal.press("M->")
        terminal.type("three\n")
        terminal.press("M-x")
        terminal.type("do-auto-save\n")
        terminal.shows("Auto-saving...done")
        terminal.press("C-x", "C-s")
        terminal.shows("Wrote")

    def add(terminal: Terminal) -> None:
        terminal.type("four\n")

    def again(terminal: Terminal) -> None:
        add(terminal)
        terminal.press("C-x", "C-s")
        terminal.shows("(Text)")

    return Editor(
        f"emacs, `{settings}`" if settings else "emacs",
        f"emacs -nw -Q --eval '(progn {settings})' {FILE}",
        once,
        again,
        add,
        leave=lambda terminal: terminal.press("C-x", "C-c"),
        asks="changed on disk",
        no=lambda terminal: terminal.press("C-g"),
        meanwhile=after,
        after=after,
    )


EDITORS = (
    vim(),
    vim("set backup", BACKUP),
    vim("set backup backupcopy=yes", BACKUP),
    vim("set backup backupcopy=no", BACKUP),
    vim("set backupcopy=yes"),
    vim("set backupcopy=no"),
    nano(),
    nano("-B", BACKUP),
    emacs("", BACKUP),
    emacs("(setq backup-by-copying t)", BACKUP),
    emacs("(setq make-backup-files nil)"),
)
