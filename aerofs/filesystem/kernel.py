"""What the filesystem tells the kernel of its own accord. `fuse/caches.py` offers the real one."""

from typing import Protocol


class Kernel(Protocol):
    """Caches that may hold what is no longer so."""

    def forget_entry(self, parent: int, name: str) -> None:
        """The name in that directory leads elsewhere now, or nowhere."""

    def forget_pages(self, inode: int) -> None:
        """Size and content of a file changed without its writer."""

    def forget_attributes(self, inode: int) -> None:
        """Size or times of a file changed; its pages are right."""
