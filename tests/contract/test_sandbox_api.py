"""The sandbox's API and store over real sockets, by their default reading: every call, every refusal."""

import json
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from PIL import Image

from aerofs.sandbox import Access, FieldSpec, Sandbox, SandboxConfig, serving

TOKENS = {
    "reader": Access(read_only=True),
    "keeper": Access(may_delete=False),
    "half-blind": Access(hidden_fields=frozenset({"scan"}), read_only_fields=frozenset({"files"})),
    "blind": Access(hidden_fields=frozenset({"*"})),
    "stranger": Access(hidden_definitions=frozenset({"invoice"})),
    "late": Access(locked_statuses=frozenset({"closed"})),
}
INVOICE = "document-definitions/invoice"
A = f"{INVOICE}/documents/A"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with serving(SandboxConfig(tokens=TOKENS)) as sandbox:
        sandbox.platform.add_definition(
            "invoice",
            fields=[
                FieldSpec("number", type="text"),
                "files",
                "nested.files",
                FieldSpec("scan", maximum_attachments=1),
                FieldSpec("must", required=True),
                FieldSpec("small", maximum_megabytes=0.001),
                FieldSpec("picture", maximum_image_width=100),
            ],
            lines={"rows": ["photo"]},
        )
        sandbox.platform.add_document("invoice", external_id="A", lines={"rows": [{"n": 1}, {"n": 2}]})
        yield sandbox


def headers(token: str = "sandbox-token") -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "environment-id": "sandbox", "Accept": "application/json"}


@pytest.fixture
async def api(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"{sandbox.url}/api/v2", headers=headers()) as client:
        yield client


def said(response: httpx.Response, status: int = 200) -> Any:
    assert response.status_code == status, response.text
    body = response.json()
    if status >= 400:
        assert set(body) == {"status", "error", "description", "message"}
        assert body["status"] == "error"
    return body


async def save(
    api: httpx.AsyncClient, path: str, *files: tuple[str, bytes], document: str = A, **more: str
) -> httpx.Response:
    parts = [("file", file) for file in files]
    return await api.post(f"{document}/attachments", params={"valuePath": path, **more}, files=parts)


async def listed(api: httpx.AsyncClient, path: str, document: str = A) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = said(await api.get(f"{document}/attachments", params={"valuePath": path}))[
        "attachments"
    ]
    return found


# Who may call


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"Authorization": ""}, 401),
        ({"Authorization": "Bearer nonsense"}, 401),
        ({"Authorization": "Basic sandbox-token"}, 401),
        ({"environment-id": ""}, 400),
        ({"environment-id": "other"}, 401),
        ({"Accept": "*/*"}, 400),
    ],
)
async def test_headers_must_be_as_documented(
    api: httpx.AsyncClient, change: dict[str, str], status: int
) -> None:
    said(await api.get("document-definitions", headers=change), status)


async def test_permissions_refuse_with_403_and_hide_with_404(
    api: httpx.AsyncClient, sandbox: Sandbox
) -> None:
    said(await save(api, "files", ("a", b"1")))
    said(await save(api, "scan", ("a", b"1")))
    (file,) = await listed(api, "files")
    where = {"valuePath": "files", "attachmentId": file["_id"]}

    def under(token: str) -> None:
        api.headers.update(headers(token))

    for token in ("reader", "half-blind"):
        under(token)
        said(await save(api, "files", ("a", b"1")), 403)
    for token in ("reader", "keeper", "half-blind"):
        under(token)
        said(await api.delete(f"{A}/attachments", params=where), 403)
    under("half-blind")
    said(await api.get(f"{A}/attachments", params={"valuePath": "scan"}), 403)
    document = said(await api.get(A))["document"]
    assert "scan" not in document
    assert document["files"]
    fields = said(await api.get(INVOICE))["documentDefinition"]["fields"]
    assert "scan" not in [field["name"] for field in fields]
    under("blind")
    assert said(await api.get(f"{INVOICE}/documents"))["documents"] == []
    said(await api.get(A), 404)
    under("stranger")
    assert said(await api.get("document-definitions"))["documentDefinitions"] == []
    said(await api.get(INVOICE), 404)
    under("late")
    said(await save(api, "files", ("b", b"1")))
    said(await api.patch(A, json={"status": "closed"}))
    said(await save(api, "files", ("c", b"1")), 403)
    assert sandbox.requests["save"] == 6


async def test_what_is_not_there_is_404_and_what_is_not_possible_405(api: httpx.AsyncClient) -> None:
    for path in ("nonsense", "document-definitions/nonsense", f"{INVOICE}/documents/B", f"{A}/nonsense"):
        said(await api.get(path), 404)
    said(await api.patch(f"{A}/attachments"), 405)
    said(await api.post(A, json={}), 405)


# Definitions and documents


async def test_definitions_tell_their_fields_and_answer_by_name_and_by_id(api: httpx.AsyncClient) -> None:
    (definition,) = said(await api.get("document-definitions"))["documentDefinitions"]
    assert definition["name"] == "invoice"
    assert {field["name"]: field["type"] for field in definition["fields"]}["number"] == "text"
    scan = next(field for field in definition["fields"] if field["name"] == "scan")
    assert scan["maximumAllowedAttachments"] == 1
    assert definition["lines"][0]["fields"][0]["name"] == "photo"
    for key in ("invoice", definition["_id"]):
        answer = said(await api.get(f"document-definitions/{key}"))
        assert answer == {"status": "ok", "documentDefinition": definition}


@pytest.mark.parametrize("external_id", ["a/b", "bdr:200¡adm:05¡prj:6", "100% %2F", "..", "a?b#c", " ", "é"])
async def test_external_ids_of_any_shape_lead_to_their_document(
    api: httpx.AsyncClient, sandbox: Sandbox, external_id: str
) -> None:
    document = sandbox.platform.add_document("invoice", external_id=external_id)
    raw = f"{sandbox.url}/api/v2/{INVOICE}/documents/{quote(external_id, safe='')}"
    if external_id == "..":
        raw = raw.replace("/..", "/%2E%2E")
    assert said(await api.get(raw))["document"]["_id"] == document
    said(await save(api, "files", ("x", b"1"), document=raw))
    assert len(await listed(api, "files", raw)) == 1


async def test_documents_are_filtered_sorted_paged_and_projected(
    api: httpx.AsyncClient, sandbox: Sandbox
) -> None:
    with sandbox.platform.transaction():
        ids = [sandbox.platform.add_document("invoice", external_id=f"E{n}") for n in range(10)]

    async def page(query: object, options: object) -> list[dict[str, Any]]:
        params = {"query": json.dumps(query), "options": json.dumps(options)}
        found: list[dict[str, Any]] = said(await api.get(f"{INVOICE}/documents", params=params))["documents"]
        return found

    chosen = await page(
        {"_id": {"$gt": ids[2]}}, {"sort": {"_id": 1}, "limit": 3, "skip": 1, "fields": {"files": 1}}
    )
    assert chosen == [{"_id": id_, "files": []} for id_ in ids[4:7]]
    (one,) = await page({"externalId": "E3"}, {"limit": 2})
    assert one["_id"] == ids[3]
    assert {"status", "_documentDefinitionId", "_createdOn", "_lastModifiedOn", "_hash"} <= set(one)
    for wrong in ({"options": '{"limit": 801}'}, {"options": "nonsense"}, {"query": "[]"}, {"page": "1"}):
        assert said(await api.get(f"{INVOICE}/documents", params=wrong), 400)["error"] == "validation_error"


async def test_a_document_lives_from_new_to_delete(api: httpx.AsyncClient) -> None:
    body = {"externalId": "N", "number": "1", "rows": [{"n": 1}, {"n": 2}]}
    made = said(await api.post(f"{INVOICE}/documents/new", json=body))["document"]
    url = f"{INVOICE}/documents/{made['_id']}"
    first, second = (row["_id"] for row in made["rows"])
    said(await save(api, f"rows.{first}.photo", ("a", b"1"), document=url))
    patched = said(await api.patch(url, json={"number": "2"}))["document"]
    assert (patched["number"], len(patched["rows"][0]["photo"])) == ("2", 1)
    assert patched["_hash"] != made["_hash"]
    put = said(await api.put(url, json={"rows": [{"_id": second, "n": 3}]}))["document"]
    assert "number" not in put
    assert put["rows"] == [{"_id": second, "n": 3, "photo": []}]
    assert put["externalId"] == "N"
    wrongs: tuple[object, ...] = (
        {"files": []},
        {"nested": {}},
        {"_id": "x"},
        {"rows": [{"photo": []}]},
        1,
        [],
    )
    for wrong in wrongs:
        said(await api.patch(url, json=wrong), 400)
    said(await api.patch(url, content=b"{}"), 400)
    assert said(await api.delete(url)) == {"status": "ok"}
    said(await api.get(url), 404)


# Attachments


async def test_a_save_answers_what_it_added_and_the_document_shows_it(api: httpx.AsyncClient) -> None:
    before = said(await api.get(A))["document"]
    first = said(await save(api, "nested.files", ("a.txt", b"one")))["attachments"]
    assert [(file["_fileName"], file["type"], file["_size"]) for file in first] == [
        ("a.txt", "text/plain", 3)
    ]
    more = said(await save(api, "nested.files", ('"b".pdf', b""), ("a.txt", b"two")))["attachments"]
    assert [file["_fileName"] for file in more] == ['"b".pdf', "a.txt"]
    after = said(await api.get(A))["document"]
    assert [file["_id"] for file in after["nested"]["files"]] == [file["_id"] for file in [*first, *more]]
    assert set(after["nested"]["files"][0]) == {"_id", "_fileName", "store", "_size"}
    assert after["_lastModifiedOn"] > before["_lastModifiedOn"]
    assert after["_hash"] != before["_hash"]


async def test_a_save_replaces_the_whole_field_only_when_asked(api: httpx.AsyncClient) -> None:
    said(await save(api, "files", ("a", b"1"), ("b", b"2"), actionType="append", shouldUpdateDocument="true"))
    said(await save(api, "files", ("c", b"3"), actionType="replace"))
    assert [file["_fileName"] for file in await listed(api, "files")] == ["c"]


async def test_a_save_that_shall_not_update_the_document_stays_out_of_its_field(
    api: httpx.AsyncClient,
) -> None:
    added = said(await save(api, "files", ("a", b"1"), shouldUpdateDocument="false"))["attachments"]
    assert len(added) == 1
    assert await listed(api, "files") == []
    assert said(await api.get(A))["document"]["files"] == []


@pytest.mark.parametrize("piece", [1, 1000, 70_000, 1_000_000])
async def test_a_chunked_upload_arrives_whole_whatever_its_pieces(
    api: httpx.AsyncClient, sandbox: Sandbox, piece: int
) -> None:
    data = bytes(range(256)) * (8 if piece == 1 else 8000)
    head = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    body = head + data + b"\r\n--B--\r\n"

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), piece):
            yield body[start : start + piece]

    kind = {"Content-Type": "multipart/form-data; boundary=B"}
    answer = await api.post(f"{A}/attachments", params={"valuePath": "files"}, content=pieces(), headers=kind)
    said(answer)
    assert sandbox.platform.attachments("invoice", "A", "files")[0].data == data
    assert sandbox.bytes_in["api"] == len(body)


async def test_a_line_field_is_reached_by_its_line_id_only(api: httpx.AsyncClient) -> None:
    rows = said(await api.get(A))["document"]["rows"]
    said(await save(api, f"rows.{rows[1]['_id']}.photo", ("a", b"1")))
    assert [len(row["photo"]) for row in said(await api.get(A))["document"]["rows"]] == [0, 1]
    said(await save(api, "rows.1.photo", ("a", b"1")), 404)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"valuePath": ""},
        {"valuePath": "nonsense"},
        {"valuePath": "number"},
        {"valuePath": "files", "actionType": "Upload"},
        {"valuePath": "files", "shouldUpdateDocument": "yes"},
        {"valuePath": "files", "unknown": "1"},
    ],
)
async def test_a_save_with_wrong_parameters_is_refused(
    api: httpx.AsyncClient, params: dict[str, str]
) -> None:
    answer = await api.post(f"{A}/attachments", params=params, files={"file": ("a", b"1")})
    assert said(answer, 400)["error"] == "validation_error"


async def test_a_save_without_files_or_with_more_than_files_is_refused(api: httpx.AsyncClient) -> None:
    url, params = f"{A}/attachments", {"valuePath": "files"}
    said(await api.post(url, params=params), 400)
    said(await api.post(url, params=params, json={}), 400)
    said(await api.post(url, params=params, files={"other": ("a", b"1")}), 400)
    said(await api.post(url, params=params, files={"file": ("a", b"1")}, data={"field": "x"}), 400)
    said(await api.put(url, params=params, files={"file": ("a", b"1")}))
    assert len(await listed(api, "files")) == 1


async def test_the_settings_of_a_field_are_kept(api: httpx.AsyncClient) -> None:
    said(await save(api, "scan", ("a", b"1")))
    full = said(await save(api, "scan", ("b", b"1")), 400)
    assert "maximum of 1 allowed attachments" in full["description"]
    said(await save(api, "scan", ("b", b"1"), actionType="replace"))
    said(await save(api, "scan", ("c", b"1"), ("d", b"1"), actionType="replace"), 400)
    assert [file["_fileName"] for file in await listed(api, "scan")] == ["b"]
    said(await save(api, "small", ("a", b"x" * 1048)))
    assert "larger than 1048 bytes" in said(await save(api, "small", ("b", b"x" * 1049)), 400)["description"]
    large = await save(api, "small", ("b", b"x" * 5_000_000))
    assert "larger" in said(large, 400)["description"]


async def test_the_last_file_of_a_required_field_stays(api: httpx.AsyncClient) -> None:
    said(await save(api, "must", ("a", b"1"), ("b", b"2")))
    first, second = await listed(api, "must")
    url = f"{A}/attachments"
    said(await api.delete(url, params={"valuePath": "must", "attachmentId": first["_id"]}))
    last = await api.delete(url, params={"valuePath": "must", "attachmentId": second["_id"]})
    refused = said(last, 400)
    assert refused["error"] == "validation_error"
    assert "This field is required" in refused["description"]


async def test_a_delete_takes_exactly_the_named_attachment(api: httpx.AsyncClient) -> None:
    said(await save(api, "files", ("a", b"1"), ("a", b"2")))
    first, second = await listed(api, "files")
    url = f"{A}/attachments"
    said(await api.delete(url, params={"valuePath": "scan", "attachmentId": first["_id"]}), 404)
    answer = await api.delete(url, params={"valuePath": "files", "attachmentId": first["_id"]})
    assert said(answer) == {"status": "ok"}
    said(await api.delete(url, params={"valuePath": "files", "attachmentId": first["_id"]}), 404)
    said(await api.delete(url, params={"valuePath": "files"}), 400)
    said(await api.delete(url, params={"valuePath": "files", "attachmentId": "x", "fileName": "a"}), 400)
    assert [file["_id"] for file in await listed(api, "files")] == [second["_id"]]


async def test_wide_images_are_really_resized(api: httpx.AsyncClient) -> None:
    buffer = BytesIO()
    Image.effect_noise((400, 200), 90).save(buffer, "JPEG")
    sent = buffer.getvalue()
    (file,) = said(await save(api, "picture", ("p.jpg", sent)))["attachments"]
    assert (file["_width"], file["_height"], file["store"]) == (100, 50, "image")
    async with httpx.AsyncClient() as plain:
        read = (await plain.get(file["downloadURL"])).content
    assert read != sent
    assert len(read) == file["_size"] != len(sent)
    assert Image.open(BytesIO(read)).size == (100, 50)
    (kept,) = said(await save(api, "files", ("p.jpg", sent)))["attachments"]
    assert (kept["_width"], kept["_size"]) == (400, len(sent))


# Copies


def end(path: str, document: str = "A", **more: object) -> dict[str, object]:
    return {"ddName": "invoice", "externalId": document, "valuePath": path, **more}


async def copy(api: httpx.AsyncClient, source: object, target: object) -> httpx.Response:
    return await api.post("documents/copyAttachments", json=[{"source": source, "target": target}])


async def test_a_copy_takes_all_or_those_named_and_gives_new_ids(
    api: httpx.AsyncClient, sandbox: Sandbox
) -> None:
    other = sandbox.platform.add_document("invoice", external_id="B")
    added = said(await save(api, "files", ("a", b"1"), ("b", b"2"), ("a", b"3")))["attachments"]
    ids = [file["_id"] for file in added]
    target = {"ddName": "invoice", "_id": other, "valuePath": "nested.files", "actionType": "append"}
    copied = said(await copy(api, end("files", fileIds=[ids[1]]), target))["attachments"]
    assert [file["_fileName"] for file in copied] == ["b"]
    assert copied[0]["_id"] not in ids
    said(await copy(api, end("files", fileNames=["a"], fileIds=[]), target))
    stored = sandbox.platform.attachments("invoice", "B", "nested.files")
    assert [file[1:] for file in stored] == [("b", b"2"), ("a", b"1"), ("a", b"3")]
    said(await copy(api, end("files"), {**target, "actionType": "replace"}))
    assert [file.data for file in sandbox.platform.attachments("invoice", "B", "nested.files")] == [
        b"1",
        b"2",
        b"3",
    ]
    assert len(list(sandbox.platform.database.blobs.iterdir())) == 3


async def test_a_copy_obeys_the_target_and_happens_whole_or_not_at_all(api: httpx.AsyncClient) -> None:
    said(await save(api, "files", ("a", b"1" * 2000), ("b", b"2")))
    said(await copy(api, end("files"), end("scan")), 400)
    said(await copy(api, end("files", fileNames=["a"]), end("small")), 400)
    good = {"source": end("files"), "target": end("nested.files")}
    bad = {"source": end("files", fileIds=["nonsense"]), "target": end("nested.files")}
    said(await api.post("documents/copyAttachments", json=[good, bad]), 404)
    assert await listed(api, "nested.files") == []
    said(await api.put("documents/copyAttachments", json=[good, good]))
    assert len(await listed(api, "nested.files")) == 4


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        [{"source": end("files")}],
        [{"source": end("files"), "target": {}}],
        [{"source": end("files", nonsense=1), "target": end("scan")}],
        [{"source": end("files", fileIds="x"), "target": end("scan")}],
        [{"source": end("files", _id="x"), "target": end("scan")}],
        [{"source": end("files"), "target": end("scan", actionType="Upload")}],
        [{"source": end("files"), "target": end("number")}],
    ],
)
async def test_a_copy_of_another_shape_is_refused(api: httpx.AsyncClient, body: object) -> None:
    said(await api.post("documents/copyAttachments", json=body), 400)


async def test_a_copy_needs_its_documents(api: httpx.AsyncClient) -> None:
    said(await copy(api, end("files", "nonsense"), end("scan")), 404)
    said(await copy(api, end("files"), {"ddName": "nonsense", "_id": "x", "valuePath": "scan"}), 404)


# The store


async def test_the_store_serves_signed_urls_whole_and_in_ranges(
    api: httpx.AsyncClient, sandbox: Sandbox
) -> None:
    data = bytes(range(256)) * 8000
    (file,) = said(await save(api, "files", ("ü.bin", data)))["attachments"]
    url = file["downloadURL"]
    assert url.startswith(sandbox.store_url)
    async with httpx.AsyncClient() as plain:
        whole = await plain.get(url)
        assert whole.content == data
        etag = whole.headers["etag"]
        part = await plain.get(url, headers={"Range": "bytes=1000-1999999"})
        assert (part.status_code, part.content) == (206, data[1000:2_000_000])
        assert part.headers["content-range"] == f"bytes 1000-1999999/{len(data)}"
        beyond = await plain.get(url, headers={"Range": f"bytes={len(data)}-"})
        assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(data)}")
        same = await plain.get(url, headers={"Range": "bytes=0-0", "If-Range": etag})
        assert same.status_code == 206
        changed = await plain.get(url, headers={"Range": "bytes=0-0", "If-Range": '"other"'})
        assert changed.status_code == 200
    assert sandbox.requests["download"] == 5
    assert sandbox.bytes_out["store"] == 2 * len(data) + 1_999_000 + 1


async def test_the_store_has_the_habits_of_s3(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    (file,) = said(await save(api, "files", ("a", b"1")))["attachments"]
    url = file["downloadURL"]
    async with httpx.AsyncClient() as plain:
        assert (await plain.get(url, headers={"Authorization": "Bearer x"})).status_code == 400
        assert (await plain.head(url)).status_code == 403
        assert (await plain.put(url, content=b"2")).status_code == 403
        assert (await plain.get(url.replace("signature=", "signature=0"))).status_code == 403
        assert (await plain.get(sandbox.store_url)).status_code == 403
        sandbox.config.url_life = -1.0
        expired = (await listed(api, "files"))[0]["downloadURL"]
        answer = await plain.get(expired)
        assert answer.status_code == 403
        assert "Request has expired" in answer.text
        sandbox.platform.remove_attachment(file["_id"])
        gone = await plain.get(url)
        assert (gone.status_code, "NoSuchKey" in gone.text) == (404, True)


# Counters and control


async def test_every_request_is_counted_once_by_its_kind(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    await api.get("document-definitions")
    await api.get(INVOICE)
    await api.get(f"{INVOICE}/documents")
    await api.get(A)
    await api.get("nonsense")
    await save(api, "files", ("a", b"x" * 100_000))
    await listed(api, "files")
    await api.get(f"{A}/attachments", headers={"Authorization": "wrong"})
    assert sandbox.requests == {
        "definitions": 1,
        "definition": 1,
        "documents": 1,
        "document": 1,
        "other": 1,
        "save": 1,
        "list": 2,
    }
    assert 100_000 < sandbox.bytes_in["api"] < 101_000
    sandbox.reset_counts()
    assert not sandbox.requests
    assert not sandbox.bytes_in


async def test_the_control_path_counts_switches_and_orders(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    control = f"{sandbox.url}/_sandbox"
    await api.get(INVOICE)
    assert said(await api.get(f"{control}/stats"))["requests"] == {"definition": 1}
    said(await api.post(f"{control}/reset"))
    assert said(await api.get(f"{control}/stats"))["requests"] == {}
    told = said(await api.put(f"{control}/variants", json={"presets": ["no-sizes"], "page_cap": 7}))
    assert (told["no_sizes"], told["page_cap"]) == (True, 7)
    assert sandbox.variants.no_sizes
    assert said(await api.get(f"{control}/variants"))["page_cap"] == 7
    fault = {"kind": "definition", "action": "status", "status": 429, "retry_after": 2}
    assert len(said(await api.post(f"{control}/faults", json=fault))["faults"]) == 1
    struck = await api.get(INVOICE)
    assert (struck.status_code, struck.headers["retry-after"]) == (429, "2")
    said(await api.post(f"{control}/faults", json={**fault, "count": None}))
    said(await api.delete(f"{control}/faults"))
    said(await api.get(INVOICE))
    wrongs: tuple[object, ...] = ({"presets": ["nonsense"]}, {"nonsense": 1}, [])
    for wrong in wrongs:
        said(await api.put(f"{control}/variants", json=wrong), 400)
    said(await api.post(f"{control}/faults", json={"kind": "x"}), 400)
    said(await api.get(f"{control}/nonsense"), 404)
    said(await api.get(f"{control}/stats", headers={"Authorization": "x"}), 401)
