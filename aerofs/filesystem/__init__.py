"""What each POSIX operation means on the tree of documents. Knows no kernel and no HTTP.

`nodes` say what an inode number stands for, `tree` keeps them, `finding` finds them by name, `attributes` tells what
stat(2) shows; `files` opens, reads and writes; `commits` decides when and how a draft becomes a save, `quiet` puts off
those whose file stays open, `outcomes` knows what becomes of them; `unlinking` removes; `moves` renames, `takeovers`
does so over another file, `relocations` has the platform follow, `undoing` takes back what it refuses; `asides` knows
what was renamed to a local name; `versions` brings what the platform has, `fields` tells what is known of a field,
`recovery` takes up the journal; `saves` shows what waits, and does what a person decides about it. `kernel` is what all
of them may tell the kernel.
`filesystem.Filesystem` is the face that `fuse.py` calls.
"""

from aerofs.filesystem.filesystem import Filesystem

__all__ = ["Filesystem"]
