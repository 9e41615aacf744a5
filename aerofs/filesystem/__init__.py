"""What each POSIX operation means on the tree of documents. Knows no kernel and no HTTP.

`nodes` say what an inode number stands for, `tree` finds them; `files` opens, reads and writes; `commits` decides when
and how a draft becomes a save, `outcomes` what becomes of it; `unlinking` removes; `moves` renames, `takeovers` does so
over another file, `asides` knows what was renamed to a local name; `versions` brings what the platform has, `fields`
tells what is known of a field, `recovery` takes up the journal.
`filesystem.Filesystem` is the face that `fuse.py` calls.
"""

from aerofs.filesystem.filesystem import Filesystem

__all__ = ["Filesystem"]
