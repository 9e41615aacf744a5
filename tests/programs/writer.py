"""A person at LibreOffice Writer, played through UNO. Runs under the system's Python, which has `uno`; never imported.

    writer.py PIPE DOCUMENT STEP...

Opens the document and takes the steps: `type:TEXT` adds a paragraph, `save` is the menu's, `pause` says so and waits
for a line on stdin. Then closes the document. With `quit` for a document: ends LibreOffice.
"""

import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

uno = import_module("uno")
_BOUND = 60.0


def connect(pipe: str) -> Any:
    """The services of the LibreOffice that listens there."""
    local = uno.getComponentContext()
    resolver = local.ServiceManager.createInstanceWithContext("com.sun.star.bridge.UnoUrlResolver", local)
    deadline = time.monotonic() + _BOUND
    while True:
        try:
            return resolver.resolve(f"uno:pipe,name={pipe};urp;StarOffice.ComponentContext")
        except uno.getClass("com.sun.star.connection.NoConnectException"):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def service(context: Any, name: str) -> Any:
    """One of its services."""
    return context.ServiceManager.createInstanceWithContext(f"com.sun.star.frame.{name}", context)


def take(context: Any, document: Any, step: str) -> None:
    """One step."""
    verb, _, text = step.partition(":")
    if verb == "type":
        body = document.getText()
        body.insertString(body.getEnd(), f"\n{text}", False)
    elif verb == "save":
        # As the menu does it, with all that it looks at before; the API's `store` looks at nothing.
        frame = document.getCurrentController().getFrame()
        service(context, "DispatchHelper").executeDispatch(frame, ".uno:Save", "", 0, ())
    elif verb == "pause":
        sys.stdout.write("paused\n")
        sys.stdout.flush()
        sys.stdin.readline()
    else:
        raise SystemExit(f"no such step: {step}")


def main(pipe: str, path: str, *steps: str) -> None:
    """Open, take the steps, close."""
    context = connect(pipe)
    desktop = service(context, "Desktop")
    if path == "quit":
        desktop.terminate()
        return
    hidden = uno.createUnoStruct("com.sun.star.beans.PropertyValue", "Hidden", 0, True, 0)
    document = desktop.loadComponentFromURL(Path(path).as_uri(), "_blank", 0, (hidden,))
    try:
        for step in steps:
            take(context, document, step)
    finally:
        document.close(True)


main(*sys.argv[1:])
