"""The kernel's edge: pyfuse3 requests in, filesystem calls, replies out. No meaning lives here."""

from aerofs.fuse.caches import KernelCaches
from aerofs.fuse.handlers import Handlers

__all__ = ["Handlers", "KernelCaches"]
