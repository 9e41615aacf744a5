"""The calls on attachments: list, save, delete."""

from collections.abc import Sequence

import trio
from starlette.responses import Response

from aerofs.sandbox.calls import Call
from aerofs.sandbox.database import AttachmentRow, DocumentRow
from aerofs.sandbox.definitions import FieldSpec, Place
from aerofs.sandbox.images import dimensions, shrunk
from aerofs.sandbox.multipart import Limits, Part, Receiver, boundary_of
from aerofs.sandbox.platform import guessed_type
from aerofs.sandbox.records import Content
from aerofs.sandbox.refusals import invalid, not_found
from aerofs.sandbox.variants import MEGABYTE, Variants


async def list_attachments(call: Call) -> Response:
    """GET …/attachments?valuePath=."""
    row, place = _target(call, call.parameters("valuePath")["valuePath"])
    return call.attachments(call.platform.files(row.id, place.path))


async def save_attachments(call: Call) -> Response:
    """POST or PUT …/attachments?valuePath=&actionType=&shouldUpdateDocument= with a body of files."""
    given = call.parameters("valuePath", optional=("actionType", "shouldUpdateDocument"))
    value_path = given["valuePath"]
    row, place = _target(call, value_path)
    call.may_change(row, place)
    replaces = replaces_field(call.variants, given.get("actionType"))
    into_field = _flag("shouldUpdateDocument", given.get("shouldUpdateDocument", "true"))
    boundary = boundary_of(call.exchange.headers.get("content-type", ""))
    with Receiver(boundary, call.platform.database.incoming, _limits(call.variants, place.field)) as receiver:
        async for chunk in call.exchange.body():
            receiver.feed(chunk)
        contents = [await _content(part, place.field, call.variants) for part in receiver.finish()]
        # Nothing is awaited from here on: what is looked at now is what is changed.
        row, place = _target(call, value_path)
        present = call.platform.files(row.id, place.path)
        going = present if replaces and into_field else []
        check_room(place.field, present, adding=len(contents), going=len(going))
        path = place.path if into_field else ""
        added = call.platform.attach(row.id, path, contents, instead_of=going)
    if call.variants.save_answers_field:
        return call.attachments(call.platform.files(row.id, path))
    return call.attachments(added)


async def delete_attachment(call: Call) -> Response:
    """DELETE …/attachments?valuePath=&attachmentId=."""
    given = call.parameters("valuePath", "attachmentId")
    row, place = _target(call, given["valuePath"])
    call.may_delete(row, place)
    present = call.platform.files(row.id, place.path)
    for file in present:
        if file.id == given["attachmentId"]:
            if place.field.required and len(present) == 1:
                raise invalid(f"Body error: {place.field.name}; This field is required")
            call.platform.detach(file)
            return call.success()
    raise not_found(f"There is no attachment {given['attachmentId']!r} in {given['valuePath']!r}")


def _target(call: Call, value_path: str) -> tuple[DocumentRow, Place]:
    spec = call.definition(call.parts[0])
    row = call.document(spec, call.parts[1])
    return row, call.place(spec, row, value_path)


def replaces_field(variants: Variants, action: str | None) -> bool:
    """Whether an actionType replaces the whole field rather than adding to it.

    Raises:
        Refusal: 400 for a word that is neither.
    """
    adding = "Upload" if variants.action_upload else "append"
    if action is None and not variants.action_upload:
        return False
    if action not in (adding, "replace"):
        raise invalid(f"Query error: actionType; must be {adding} or replace")
    return action == "replace"


def check_room(field: FieldSpec, present: Sequence[AttachmentRow], *, adding: int, going: int) -> None:
    """Refuse what would not fit into a field.

    Raises:
        Refusal: 400.
    """
    most = field.maximum_attachments
    if most is not None and len(present) - going + adding > most:
        raise invalid(f"Body error: {field.name}; The maximum of {most} allowed attachments is exceeded")


def largest(field: FieldSpec) -> int | None:
    """The largest file that a field takes, in bytes."""
    return None if field.maximum_megabytes is None else int(field.maximum_megabytes * MEGABYTE)


def _limits(variants: Variants, field: FieldSpec) -> Limits:
    return Limits(
        part_name=variants.part_name,
        files=variants.call_files,
        total=variants.call_bytes,
        single=largest(field),
    )


def _flag(name: str, word: str) -> bool:
    if word not in ("true", "false"):
        raise invalid(f"Query error: {name}; must be true or false")
    return word == "true"


async def _content(part: Part, field: FieldSpec, variants: Variants) -> Content:
    told = part.type.partition(";")[0].strip().lower()
    media_type = guessed_type(part.name) if told in ("", "application/octet-stream") else told
    if not media_type.startswith("image/"):
        return Content(part.name, media_type, part.path, part.size)
    widths = [width for width in (field.maximum_image_width, variants.image_width) if width is not None]
    if widths:
        pixels = await trio.to_thread.run_sync(shrunk, part.path, min(widths))
    else:
        pixels = await trio.to_thread.run_sync(dimensions, part.path)
    return Content(part.name, media_type, part.path, part.path.stat().st_size, *(pixels or ()))
