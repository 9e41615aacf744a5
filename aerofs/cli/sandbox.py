"""`aerofs sandbox`: hands its words on to the local platform, which is an extra of the installation."""

import typer

from aerofs.errors import ConfigError

CONTEXT: dict[str, object] = {
    "ignore_unknown_options": True,
    "allow_extra_args": True,
    "help_option_names": [],  # the sandbox explains itself
}


def sandbox(context: typer.Context) -> None:
    """Run a local aero platform, for trying and testing (--help tells more)."""
    try:
        from aerofs.sandbox import main  # noqa: PLC0415 -- an extra, and heavy
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the sandbox needs {error.name}: pip install 'aerofs[sandbox]' (in a clone: '.[sandbox]')"
        ) from None
    raise typer.Exit(main(context.args, program="aerofs sandbox"))
