"""What each POSIX operation means on the tree of documents. Knows no kernel and no HTTP.

`filesystem.Filesystem` is the face that `fuse/` calls; ARCHITECTURE.md tells what each module is for.
"""

from aerofs.filesystem.filesystem import Filesystem

__all__ = ["Filesystem"]
