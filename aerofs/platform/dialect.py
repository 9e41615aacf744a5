"""The dialect: every READING of what the aero API leaves undocumented, each with one home and one default.

A platform that differs is met by overriding an attribute in the profile (`[dialect]`), not by changing
code. What is documented stands in `wire.py`; what both readings can be told apart by looking at an answer
is not a setting at all: `parsing.py` tolerates it.
"""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aerofs.errors import ConfigError


class Dialect(BaseModel):
    """How one platform speaks. Key tuples are tried in their order, the first that is present wins."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    api_prefix: str = "api/v2"
    success_words: frozenset[str] = frozenset({"ok", "success"})
    """v2 says `ok`, v1 `success`; any other word in `status` is a failure, whatever the HTTP code."""

    query_parameter: str = "query"
    options_parameter: str = "options"
    paging: Literal["key", "skip"] = "key"
    """`key`: sort by `_id` and ask for `_id > last`: steady cost, no gaps under inserts. `skip`: by
    position."""
    page_limit: int = Field(default=500, ge=1, le=800)
    """Documents asked for in one page; the platform admits 1 to 800."""
    projection: bool = True
    """Ask for the keys that are needed only; off for a platform that does not understand `options.fields`."""

    definitions_keys: tuple[str, ...] = ("documentDefinitions", "definitions", "data", "result")
    definition_keys: tuple[str, ...] = ("documentDefinition", "definition", "data", "result")
    documents_keys: tuple[str, ...] = ("documents", "data", "result")
    document_keys: tuple[str, ...] = ("document", "data", "result")
    attachments_keys: tuple[str, ...] = ("attachments", "attachment", "data", "result")
    id_keys: tuple[str, ...] = ("_id", "id", "attachmentId", "fileId")
    name_keys: tuple[str, ...] = ("_fileName", "fileName", "filename", "name")
    type_keys: tuple[str, ...] = ("type", "mimeType", "contentType")
    size_keys: tuple[str, ...] = ("_size", "size")
    url_keys: tuple[str, ...] = ("downloadURL", "downloadUrl", "url")

    attachment_types: frozenset[str] = frozenset({"attachment", "attachments"})
    """Codes of the field type Attachment in a definition, compared without regard to case."""
    line_types: frozenset[str] = frozenset({"line", "lines", "lineblock"})
    """Codes of a line block that stands among the fields of a definition."""
    lines_by: Literal["id", "index"] = "id"
    """The middle of a line field's value path: the line's `_id`, or its position."""
    megabyte: int = Field(default=1024 * 1024, ge=1)
    """Bytes in the MB of Maximum File Size. The larger reading: the platform itself has the last word."""

    save_method: Literal["POST", "PUT"] = "POST"
    part_name: str = Field(default="file", min_length=1)
    append_action: str = "append"
    replace_action: str = "replace"
    """Replaces the WHOLE field."""
    update_document: bool = True

    copy_method: Literal["POST", "PUT"] = "POST"
    copy_definition_key: str = "ddName"
    copy_document_key: str = "_id"
    copy_action: str = "append"

    @classmethod
    def spoken(cls, overrides: Mapping[str, Any]) -> Self:
        """Return the default dialect with the profile's overrides.

        Raises:
            ConfigError: An unknown attribute or a value that does not fit, named.
        """
        try:
            return cls.model_validate(dict(overrides))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "?"
            if first["type"] == "extra_forbidden":
                raise ConfigError(f"dialect.{where}: there is no such attribute") from None
            raise ConfigError(f"dialect.{where}: {first['msg']}") from None
