"""Everything is composed here, by constructor: the rooms of one mount, but for the kernel's edge.

So tests can drive a filesystem without a mount.
"""

import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

import trio

from aerofs.content.conflicts import Conflicts
from aerofs.content.origin import Download
from aerofs.content.reader import Reader
from aerofs.content.spool import Spool
from aerofs.content.steps import Performer
from aerofs.content.store import Store
from aerofs.content.uploads import Uploads
from aerofs.filesystem import Filesystem
from aerofs.filesystem.asides import Asides
from aerofs.filesystem.attributes import Attributor
from aerofs.filesystem.commits import Commits
from aerofs.filesystem.discarding import Discarding
from aerofs.filesystem.files import Files
from aerofs.filesystem.kernel import Kernel
from aerofs.filesystem.lookalikes import Lookalikes
from aerofs.filesystem.moves import Moves
from aerofs.filesystem.recovery import Recovery
from aerofs.filesystem.relocations import Relocations
from aerofs.filesystem.saves import Saves
from aerofs.filesystem.takeovers import Takeovers
from aerofs.filesystem.tree import Tree
from aerofs.filesystem.undoing import Undoing
from aerofs.filesystem.unlinking import Unlinking
from aerofs.filesystem.versions import Versions
from aerofs.model import Attachment, AttachmentId, FieldRef
from aerofs.namespace.catalog import Catalog
from aerofs.platform import Platform
from aerofs.settings import Settings

DECISION_WAIT = 5.0
"""Seconds at most that a person's decision about a save waits for a request that is under way."""


class _Origin:
    """Where a reader's bytes come from: URLs by the catalog's list, bytes by the platform."""

    def __init__(self, catalog: Catalog, platform: Platform) -> None:
        self._catalog = catalog
        self._platform = platform

    def download(
        self, url: str, *, start: int = 0, stop: int | None = None
    ) -> AbstractAsyncContextManager[Download]:
        return self._platform.download(url, start=start, stop=stop)

    async def fresh_urls(self, place: FieldRef) -> Mapping[AttachmentId, Attachment]:
        listed = await self._catalog.attachments(place, anew=True)
        return {attachment.id: attachment for attachment in listed}


def compose(
    settings: Settings, store: Store, platform: Platform, kernel: Kernel, nursery: trio.Nursery
) -> tuple[Filesystem, Catalog]:
    """Wire the rooms. Everything but the kernel's edge, so that tests can drive a filesystem without a mount."""
    catalog = Catalog(
        platform,
        definition_ttl=settings.definition_ttl,
        listing_ttl=settings.listing_ttl,
        document_ttl=settings.document_ttl,
        negative_ttl=settings.negative_ttl,
        documents_by=settings.documents_by,
    )
    tree = Tree(catalog, store.journal, kernel, lambda: uploads, umask=settings.umask)
    reader = Reader(store.blobs, _Origin(catalog, platform), nursery, learned=tree.learned)
    spool = Spool(store.drafts, limit=settings.spool_limit, make_room=store.blobs.make_room)
    conflicts = Conflicts(store.directory)
    performer = Performer(
        platform, catalog, store.journal, store.drafts, reader.fetch, conflicted=conflicts.note
    )
    uploads = Uploads(
        performer, store.journal, store.blobs, store.drafts, nursery, together=settings.upload_lane
    )
    commits = Commits(
        tree, uploads, store.journal, store.blobs, kernel, nursery, close_wait=settings.close_wait
    )
    wait = settings.rename_wait
    versions = Versions(tree, reader, store.drafts, spool=spool, wait=wait)
    asides = Asides(tree, commits, versions, kernel, nursery, wait=wait)
    unlinking = Unlinking(
        tree,
        commits,
        uploads,
        store.journal,
        platform,
        versions,
        asides,
        read_only=settings.read_only,
        wait=wait,
    )
    takeovers = Takeovers(tree, commits, uploads, versions, asides, wait=wait)
    relocations = Relocations(tree, commits, uploads, store.journal)
    lookalikes = Lookalikes(commits, nursery)
    undoing = Undoing(tree, commits, uploads, relocations, asides, lookalikes, kernel)
    moves = Moves(
        tree,
        commits,
        uploads,
        takeovers,
        asides,
        unlinking,
        relocations,
        undoing,
        read_only=settings.read_only,
        rename_wait=wait,
    )
    files = Files(
        tree,
        commits,
        asides,
        versions,
        reader,
        lookalikes,
        read_only=settings.read_only,
        umask=settings.umask,
    )
    decision_wait = min(wait, DECISION_WAIT)
    discarding = Discarding(tree, commits, uploads, store.journal, wait=decision_wait)
    filesystem = Filesystem(
        tree=tree,
        files=files,
        moves=moves,
        unlinking=unlinking,
        commits=commits,
        uploads=uploads,
        recovery=Recovery(tree, commits, uploads, store.journal, store.drafts, spool),
        saves=Saves(tree, commits, uploads, store.drafts, conflicts, discarding, wait=decision_wait),
        attributor=Attributor(tree, settings, now_ns=time.time_ns),
        store=store,
        spool=spool,
        read_only=settings.read_only,
    )
    return filesystem, catalog
