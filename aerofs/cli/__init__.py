"""The command line: a file per command, and here what they share: one sentence per mistake, and exit codes.

Exit codes: 0 done; 1 it failed; 2 a mistake in arguments, settings or surroundings; 3 unmounted,
but saves are left on this disk; 130 stopped by Ctrl-C.
"""

import io
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

import aerofs
from aerofs.cli import demo, mount, sandbox, saves, status, umount
from aerofs.errors import AerofsError, ConfigError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

app = typer.Typer(
    name="aerofs",
    help="The drive for aero: a company's documents, mounted as a tree of files.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("mount")(mount.mount)
app.command("umount")(umount.umount)
app.command("status")(status.status)
app.add_typer(saves.app, name="saves", cls=saves.ListsByDefault)
app.command("demo")(demo.demo)
app.command("sandbox", context_settings=sandbox.CONTEXT)(sandbox.sandbox)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"aerofs {aerofs.__version__}")
        raise typer.Exit


@app.callback()
def _top(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Say the version.", is_eager=True, callback=_say_version)
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and leave the process with its exit code."""
    _open_standard_files()
    if sys.stdout is sys.__stdout__:
        sys.stdout = _output()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and re.match(r"https?://", given[0]):
        given.insert(0, "mount")  # mount.fuse runs `aerofs SOURCE MOUNTPOINT -o …` for the type fuse.aerofs
    sys.exit(
        _guarded(lambda: _run(given), verbose=any(re.fullmatch("-v+|--verbose", word) for word in given))
    )


def _open_standard_files() -> None:
    """What our caller closed is not to be the number of a file of ours. What is written to a closed output fails."""
    for number, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # takes the lowest free number
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 -- for the life of the process


class _Output(io.FileIO):
    """The standard output. What it does not take is told once, unless it is that nobody reads on."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            # For the rest, at the very end.
            os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), self.fileno())
            if isinstance(error, BrokenPipeError):
                raise
            raise AerofsError(f"cannot write to the standard output: {error.strerror}") from None


def _output() -> io.TextIOWrapper:
    """A path may be any bytes, and comes out as it is, whatever the locale makes of it."""
    raw = _Output(1, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding="utf-8", errors="surrogateescape", line_buffering=raw.isatty()
    )


def mount_main(arguments: Sequence[str] | None = None) -> NoReturn:
    """`mount.aerofs SOURCE MOUNTPOINT [-sfnv] [-o …]`, as mount(8) calls its helpers; `-f` only looks.

    Source: mount(8), "EXTERNAL HELPERS".
    """
    given: list[str] = []
    words = iter(sys.argv[1:] if arguments is None else arguments)
    for word in words:
        if word in {"-t", "-N"}:
            next(words, None)
        elif re.fullmatch("-[sfnv]+", word):
            if "f" in word:
                sys.exit(0)
            given += ["-v"] if "v" in word else []
        else:
            given.append(word)
    main(["mount", *given])


def _run(arguments: Sequence[str]) -> int:
    code = typer.main.get_command(app)(
        list(arguments) or ["--help"], prog_name="aerofs", standalone_mode=False
    )
    return code if isinstance(code, int) else 0


def _guarded(run: Callable[[], int], *, verbose: bool) -> int:
    """The exit code of `run`; whatever it raises becomes one sentence on stderr."""
    try:
        code = run()
        sys.stdout.flush()
    except BrokenPipeError:
        return 1
    except AerofsError as error:
        return _say(str(error), 2 if isinstance(error, ConfigError) else 1)
    except typer.TyperException as error:
        return _say(error.format_message().rstrip("."), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _say("stopped", 130)
    except Exception as error:  # noqa: BLE001 -- the last guard: a person gets a sentence, not a traceback
        if verbose:
            traceback.print_exc()
        hint = "" if verbose else " (-v shows where)"
        gone = isinstance(error, FileNotFoundError) and _nowhere()
        told = f"unexpected {type(error).__name__}: {error}{hint}"
        return _say(*(("the working directory is gone: change to another one", 2) if gone else (told, 1)))
    return code


def _nowhere() -> bool:
    """Whether the working directory was removed: no relative path leads anywhere then."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _say(sentence: str, code: int) -> int:
    sys.stderr.write(f"aerofs: {sentence}\n")
    return code
