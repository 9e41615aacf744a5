"""The aero API: the only room that speaks HTTP.

`wire` and its neighbours know the protocol and no socket, `exchange` and its neighbours know connections
and no protocol; `Platform` puts them together. Whoever is outside of this room uses the names below and
nothing else.
"""

from aerofs.platform.client import Platform
from aerofs.platform.dialect import Dialect
from aerofs.platform.downloads import Download, ExpiredUrlError
from aerofs.platform.multipart import Content

__all__ = ["Content", "Dialect", "Download", "ExpiredUrlError", "Platform"]
