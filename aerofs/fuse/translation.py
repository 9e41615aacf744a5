"""The kernel's words for ours: file names as bytes, attributes as structures. Pure."""

from pyfuse3 import EntryAttributes, InodeT, ModeT

from aerofs.filesystem.attributes import Attributes

BLOCK = 512
IO_SIZE = 1 << 20


def text(name: bytes) -> str:
    """A file name as it is below; undecodable bytes are lone surrogates there."""
    return name.decode(errors="surrogateescape")


def raw(name: str) -> bytes:
    """A file name as the kernel has it."""
    return name.encode(errors="surrogateescape")


def as_entry(attributes: Attributes) -> EntryAttributes:
    """The attributes of a node as the kernel has them."""
    entry = EntryAttributes()
    entry.st_ino = InodeT(attributes.inode)
    entry.st_mode = ModeT(attributes.mode)
    entry.st_nlink = attributes.nlink
    entry.st_uid, entry.st_gid = attributes.uid, attributes.gid
    entry.st_size = attributes.size
    entry.st_blksize = IO_SIZE
    entry.st_blocks = -(-attributes.size // BLOCK)
    entry.st_atime_ns = entry.st_mtime_ns = attributes.mtime_ns
    entry.st_ctime_ns = attributes.ctime_ns
    entry.entry_timeout = attributes.entry_timeout
    entry.attr_timeout = attributes.attribute_timeout
    return entry
