"""The readings of the API that the sandbox can play instead of its defaults, alone or together.

What is documented never varies. `PRESETS` gives each variant the name that the command line and the control
path use; `Variants` holds the state. Data that a variant needs (external ids that clash) is added elsewhere.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Literal, Self

MEGABYTE = 1024 * 1024
"""What the platform's settings call MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variants:
    """Which of the undocumented details differ from the default reading.

    Attributes:
        plain_keys: Answers of the attachment calls say `id/fileName/size/mimeType/downloadUrl`. envelope: The
        key above every list; "bare" leaves the list itself as the body; None: the usual keys. no_sizes: No
        answer tells a size. urls: Where downloadURL leads: the object store; the API host (send the headers);
        the same as a relative
            URL; the API host, which redirects to the store.
        no_range: Downloads ignore Range and answer 200.
        url_life: Seconds that a downloadURL lasts, instead of the configured life.
        page_cap: No page of documents is longer, whatever `limit` says.
        ignore_query: The parameter `query` is ignored.
        skip_only: Ranges of `_id` are refused, so pages go by `skip` only.
        no_definitions_list: The list of definitions answers 403 (one definition may still be read).
        no_field_list: Definitions do not tell their fields.
        lines_by_index: A line stands in a value path by its index, not by its id.
        copy_answers_nothing: The answer of copyAttachments names no attachments.
        save_answers_field: A save answers with the whole field instead of what it added.
        action_upload: `actionType` must be `Upload` (which appends) or `replace`.
        part_name: The name that file parts must have; "" accepts any.
        status_word: What success is called in a body.
        image_width: Every image is resized to this width, whatever its field says.
        call_files: The most files for one save call.
        call_bytes: The most bytes of files for one save call.
        query_seconds_per_document: What a document list costs; beyond `query_limit` it is answered by 500.
        query_limit: Seconds that a document list may take.
        hidden_fields: Fields hidden from every user.
        clashing_external_ids: Every definition gets two documents of one external id, and one whose external
            id is another's `_id`. Switching it off again leaves them.
    """

    plain_keys: bool = False
    envelope: Literal["data", "result", "bare"] | None = None
    no_sizes: bool = False
    urls: Literal["store", "api", "relative", "redirect"] = "store"
    no_range: bool = False
    url_life: float | None = None
    page_cap: int | None = None
    ignore_query: bool = False
    skip_only: bool = False
    no_definitions_list: bool = False
    no_field_list: bool = False
    lines_by_index: bool = False
    copy_answers_nothing: bool = False
    save_answers_field: bool = False
    action_upload: bool = False
    part_name: str = "file"
    status_word: Literal["ok", "success"] = "ok"
    image_width: int | None = None
    call_files: int | None = None
    call_bytes: int | None = None
    query_seconds_per_document: float = 0.0
    query_limit: float = 3.0
    hidden_fields: tuple[str, ...] = ()
    clashing_external_ids: bool = False

    @classmethod
    def named(cls, *names: str) -> Self:
        """The variants of these preset names together.

        Raises:
            ValueError: a name that `PRESETS` does not have.
        """
        return cls().also(*names)

    def also(self, *names: str) -> Self:
        """These variants with the presets of the names on top.

        Raises:
            ValueError: a name that `PRESETS` does not have.
        """
        changes: dict[str, Any] = {}
        for name in names:
            if name not in PRESETS:
                raise ValueError(f"no variant {name!r}; there are {', '.join(sorted(PRESETS))}")
            changes |= PRESETS[name]
        return replace(self, **changes)

    def changed(self, values: Mapping[str, Any]) -> Self:
        """These variants with some attributes replaced, as they come from JSON.

        Raises:
            ValueError: an attribute that does not exist.
        """
        unknown = set(values) - {field.name for field in fields(self)}
        if unknown:
            raise ValueError(f"no variant attribute {', '.join(sorted(unknown))}")
        return replace(self, **{key: _frozen(value) for key, value in values.items()})


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else value


PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "plain-keys": {"plain_keys": True},
        "data-envelope": {"envelope": "data"},
        "result-envelope": {"envelope": "result"},
        "bare-lists": {"envelope": "bare"},
        "no-sizes": {"no_sizes": True},
        "api-urls": {"urls": "api"},
        "relative-urls": {"urls": "relative"},
        "redirect-urls": {"urls": "redirect"},
        "no-range": {"no_range": True},
        "short-urls": {"url_life": 2.0},
        "capped-pages": {"page_cap": 100},
        "query-ignored": {"ignore_query": True},
        "skip-only": {"skip_only": True},
        "no-definitions-list": {"no_definitions_list": True},
        "no-field-list": {"no_field_list": True},
        "lines-by-index": {"lines_by_index": True},
        "silent-copy": {"copy_answers_nothing": True},
        "save-answers-field": {"save_answers_field": True},
        "action-upload": {"action_upload": True},
        "other-part-name": {"part_name": "attachments"},
        "status-success": {"status_word": "success"},
        "images-resized": {"image_width": 800},
        "v1-limits": {"call_files": 3, "call_bytes": 100 * MEGABYTE},
        "slow-queries": {"query_seconds_per_document": 0.01},
        "hidden-fields": {"hidden_fields": ("scan", "picture")},
        "clashing-external-ids": {"clashing_external_ids": True},
    },
)
"""Each variant by the name that people type."""
