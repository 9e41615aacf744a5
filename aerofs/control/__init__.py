"""The control socket of a mount: JSON lines over a unix socket, the mount's server and the CLI's calls.

A request is one line, `{"call": "status", ...}`. The answer is any number of lines `{"answer": ...}`, then
`{"done": true}`; or `{"error": "a sentence", "kind": "NotFoundError"}` in place of either. What the calls
mean is the mount's affair (it brings the handlers); how a person sees them is the command line's.
"""

from aerofs.control.calls import call, stream
from aerofs.control.server import ControlServer, Handler
from aerofs.control.sockets import running_mounts, socket_path

__all__ = ["ControlServer", "Handler", "call", "running_mounts", "socket_path", "stream"]
