"""What the bearer of a token may see and do, in the few ways that tests need."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The permissions of one token. The default may do everything.

    Attributes:
        read_only: Every change is refused with 403.
        may_delete: Whether attachments and documents may be deleted.
        hidden_definitions: Names of definitions that do not exist for this user.
        hidden_documents: Ids of documents that do not exist for this user.
        hidden_fields: Fields that are absent for this user, as `field` or `line.field`; "*" hides all, and so
            the documents too.
        read_only_fields: Fields that this user sees but may not change.
        locked_statuses: Documents of these statuses may not be changed.
    """

    read_only: bool = False
    may_delete: bool = True
    hidden_definitions: frozenset[str] = frozenset()
    hidden_documents: frozenset[str] = frozenset()
    hidden_fields: frozenset[str] = frozenset()
    read_only_fields: frozenset[str] = frozenset()
    locked_statuses: frozenset[str] = frozenset()
