"""Editors at a terminal: a file is opened, changed and saved, stays open for a while, is changed and saved again."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.mounted import eventually
from tests.programs.desk import Desk
from tests.programs.editors import BACKUP, BEFORE, EDITORS, FILE, ONCE, TWICE, Editor, emacs, nano, vim
from tests.programs.terminal import Terminal

A_WHILE = 5.5
"""Longer than the quiet after which a file that is still open is brought up by itself."""
OPENING = {"list": 1, "download": 1}
THEIRS = b"the colleague's\n"


@pytest.fixture
def at_work(desks: Callable[[], Desk]) -> Iterator[Callable[..., list[tuple[Editor, Desk, Terminal]]]]:
    """Editors, each with a file of its own open; they have all ended when the test does."""
    with ExitStack() as running:

        def open_all(*editors: Editor) -> list[tuple[Editor, Desk, Terminal]]:
            found = [(editor, desks()) for editor in editors]
            for editor, desk in found:
                desk.paper.put(FILE, BEFORE)
                (desk.home / ".vimrc").write_text(editor.vimrc)
            found[0][1].paper.warm(*(desk.paper for _, desk in found[1:]))
            terminals = [
                running.enter_context(desk.terminal().running(editor.command, desk.scan))
                for editor, desk in found
            ]
            for terminal in terminals:
                terminal.shows("two")
            return [(*each, terminal) for each, terminal in zip(found, terminals, strict=True)]

        yield open_all


@pytest.mark.parametrize("kind", ["vim", "nano", "emacs"])
def test_editors_save_twice(at_work: Callable[..., list[tuple[Editor, Desk, Terminal]]], kind: str) -> None:
    work = at_work(*(editor for editor in EDITORS if kind in editor.title))
    count = len(work)
    assert work[0][1].requests == {kind: count * number for kind, number in OPENING.items()}
    for editor, desk, terminal in work:
        desk.drive.platform.reset()
        editor.once(terminal)
        desk.saved({FILE: ONCE}, local=editor.meanwhile)
        assert desk.requests == {"save": 1, "delete": 1}
        desk.bill(editor.title, {"save": 1, "delete": 1, **OPENING})
    time.sleep(A_WHILE)
    for editor, desk, terminal in work:
        desk.drive.platform.reset()
        editor.again(terminal)
        editor.leave(terminal)
        terminal.ends()
        desk.saved({FILE: TWICE}, local=editor.after)
        assert desk.requests == {"save": 1, "delete": 1}
    for editor, desk, _ in work:
        desk.stays({FILE: TWICE}, local=editor.after)


@pytest.mark.parametrize(
    ("settings", "local"),
    [
        ("", (BACKUP,)),
        ("(setq backup-by-copying t)", (BACKUP,)),
        ("(setq make-backup-files nil)", ()),
        ("(setq file-precious-flag t)", (BACKUP,)),
    ],
)
def test_emacs_in_a_script(desk: Desk, settings: str, local: tuple[str, ...]) -> None:
    desk.ready({FILE: BEFORE})
    change = f'(progn {settings} (goto-char (point-max)) (insert "three\\n") (save-buffer))'
    desk.run('emacs --batch -Q notes.txt --eval "$1"', change)
    desk.saved({FILE: ONCE}, local=local)
    title = f"`emacs --batch`, `{settings}`" if settings else "`emacs --batch`"
    desk.costs(title, save=1, delete=1, list=1, download=1)
    desk.stays({FILE: ONCE}, local=local)


def replaced_by_a_colleague(desk: Desk) -> None:
    desk.drive.expect("conflict")
    (base,) = desk.paper.ids()
    desk.paper.put(FILE, THEIRS)
    desk.drive.platform.remove(base)


def both_stand(desk: Desk, ours: bytes) -> str:
    """Theirs under the name, ours beside it. Returns the name of ours."""
    desk.drive.settled()
    held = desk.paper.held()
    assert sorted(data for _, data in held) == sorted([THEIRS, ours])
    assert dict(held)[FILE] == THEIRS
    (name,) = {name for name, _ in held} - {FILE}
    assert name.startswith("notes (conflict ")
    return name


def name_is_theirs(desk: Desk) -> None:
    """Wait until the name leads to the colleague's version, as it does a moment after our save."""
    eventually(
        lambda: (desk.scan / FILE).read_bytes() == THEIRS, what="the colleague's version under the name"
    )


def test_editors_ask_before_they_go_over_what_a_colleague_wrote(
    at_work: Callable[..., list[tuple[Editor, Desk, Terminal]]],
) -> None:
    work = at_work(vim(), vim("set backupcopy=yes"), nano(), emacs("", BACKUP))
    for editor, desk, terminal in work:
        replaced_by_a_colleague(desk)
        editor.once(terminal)
        both_stand(desk, ONCE)
    for editor, desk, terminal in work:
        name_is_theirs(desk)
        editor.add(terminal)
        terminal.shows(editor.asks)
        editor.no(terminal)
        editor.leave(terminal)
        terminal.ends()
    for editor, desk, _ in work:
        name = both_stand(desk, ONCE)
        desk.stays({FILE: THEIRS, name: ONCE}, local=editor.after)


def test_editors_that_save_again_at_once_save_into_their_own_version(
    at_work: Callable[..., list[tuple[Editor, Desk, Terminal]]],
) -> None:
    work = at_work(vim(), vim("set backupcopy=yes"), vim("set backup backupcopy=no", BACKUP), nano())
    for editor, desk, terminal in work:
        replaced_by_a_colleague(desk)
        editor.once(terminal)
        editor.again(terminal)
        editor.leave(terminal)
        terminal.ends()
    for _, desk, _ in work:
        name_is_theirs(desk)
    for editor, desk, _ in work:
        name = both_stand(desk, TWICE)
        desk.stays({FILE: THEIRS, name: TWICE}, local=editor.after)


def test_a_rename_over_our_own_version_does_not_touch_the_colleagues(desk: Desk) -> None:
    desk.ready({FILE: BEFORE})
    desk.run("exec 3<>notes.txt; read -r line <&3; sleep 0.5")  # its version is the one that is opened here
    replaced_by_a_colleague(desk)
    desk.run("sed -i '$athree' notes.txt; sed -i '$afour' notes.txt")
    name = both_stand(desk, TWICE)
    name_is_theirs(desk)
    desk.stays({FILE: THEIRS, name: TWICE})
