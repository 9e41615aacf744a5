"""Every variant of the sandbox over real sockets."""

import json
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import httpx
import pytest
import trio
from PIL import Image

from aerofs.sandbox import PRESETS, FieldSpec, Sandbox, Variants, serving

HEADERS = {
    "Authorization": "Bearer sandbox-token",
    "environment-id": "sandbox",
    "Accept": "application/json",
}
DOCUMENTS = "document-definitions/job/documents"
A = f"{DOCUMENTS}/A"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with serving() as sandbox:
        platform = sandbox.platform
        platform.add_definition(
            "job", fields=["photos", FieldSpec("scan", maximum_attachments=1)], lines={"rows": ["photo"]}
        )
        document = platform.add_document("job", external_id="A", lines={"rows": [{}, {}]})
        platform.add_attachment("job", document, "photos", "a.txt", b"0123456789")
        yield sandbox


@pytest.fixture
async def api(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"{sandbox.url}/api/v2", headers=HEADERS) as client:
        yield client


async def get(api: httpx.AsyncClient, path: str, **params: str) -> Any:
    response = await api.get(path, params=params)
    assert response.status_code == 200, response.text
    return response.json()


async def photos(api: httpx.AsyncClient) -> Any:
    return await get(api, f"{A}/attachments", valuePath="photos")


async def saved(api: httpx.AsyncClient, *files: Any, **params: str) -> httpx.Response:
    parts = [(params.pop("part", "file"), file) for file in files]
    return await api.post(f"{A}/attachments", params={"valuePath": "photos", **params}, files=parts)


async def test_plain_keys(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sandbox.variants = Variants.named("plain-keys")
    (file,) = (await photos(api))["attachments"]
    assert (file["fileName"], file["size"], file["mimeType"]) == ("a.txt", 10, "text/plain")
    assert {"id", "downloadUrl"} <= set(file)
    assert not {"_id", "_fileName", "_size", "type", "downloadURL"} & set(file)
    added = (await saved(api, ("b.txt", b"1"))).json()["attachments"]
    assert added[0]["fileName"] == "b.txt"


@pytest.mark.parametrize(("preset", "key"), [("data-envelope", "data"), ("result-envelope", "result")])
async def test_lists_stand_under_another_key(
    api: httpx.AsyncClient, sandbox: Sandbox, preset: str, key: str
) -> None:
    sandbox.variants = Variants.named(preset)
    answers = [await photos(api), await get(api, DOCUMENTS), await get(api, "document-definitions")]
    answers.append((await saved(api, ("b", b"1"))).json())
    assert all(set(answer) == {"status", key} and len(answer[key]) == 1 for answer in answers)


async def test_bare_lists(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sandbox.variants = Variants.named("bare-lists")
    answers = [await photos(api), await get(api, DOCUMENTS), await get(api, "document-definitions")]
    assert [len(answer) for answer in answers] == [1, 1, 1]
    assert (await get(api, A))["document"]["externalId"] == "A"


async def test_no_sizes(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sandbox.variants = Variants.named("no-sizes")
    assert "_size" not in (await photos(api))["attachments"][0]
    assert "_size" not in (await get(api, A))["document"]["photos"][0]
    assert "_size" not in (await get(api, DOCUMENTS))["documents"][0]["photos"][0]


async def test_urls_on_the_api_host_want_the_headers(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sandbox.variants = Variants.named("api-urls")
    url = (await photos(api))["attachments"][0]["downloadURL"]
    assert url.startswith(f"{sandbox.url}/")
    assert (await api.get(url, headers={"Range": "bytes=2-3"})).content == b"23"
    async with httpx.AsyncClient() as plain:
        assert (await plain.get(url)).status_code == 401
    assert sandbox.requests["download"] == 2


async def test_relative_urls(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sandbox.variants = Variants.named("relative-urls")
    url = (await photos(api))["attachments"][0]["downloadURL"]
    assert url.startswith("/")
    assert (await api.get(f"{sandbox.url}{url}")).content == b"0123456789"


async def test_redirects_to_the_store(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sandbox.variants = Variants.named("redirect-urls")
    url = (await photos(api))["attachments"][0]["downloadURL"]
    moved = await api.get(url)
    assert moved.status_code == 302
    assert moved.headers["location"].startswith(sandbox.store_url)
    async with httpx.AsyncClient() as plain:
        assert (await plain.get(moved.headers["location"])).content == b"0123456789"
    assert (sandbox.requests["redirect"], sandbox.requests["download"]) == (1, 1)


async def test_no_range(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sandbox.variants = Variants.named("no-range")
    url = (await photos(api))["attachments"][0]["downloadURL"]
    async with httpx.AsyncClient() as plain:
        whole = await plain.get(url, headers={"Range": "bytes=2-3"})
    assert (whole.status_code, whole.content) == (200, b"0123456789")
    assert "accept-ranges" not in whole.headers


@pytest.mark.parametrize("where", ["short-urls", "api-urls"])
async def test_short_lived_urls(api: httpx.AsyncClient, sandbox: Sandbox, where: str) -> None:
    sandbox.variants = Variants.named("short-urls", where)
    assert sandbox.url_life == 2.0
    async with httpx.AsyncClient(headers=HEADERS if where == "api-urls" else {}) as client:
        for life, status in ((60, 200), (0.01, 403)):
            sandbox.variants = Variants.named(where).changed({"url_life": life})
            url = (await photos(api))["attachments"][0]["downloadURL"]
            await trio.sleep(min(life, 0.05))
            assert (await client.get(url)).status_code == status


async def test_capped_pages(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    with sandbox.platform.transaction():
        for _ in range(120):
            sandbox.platform.add_document("job")
    sandbox.variants = Variants.named("capped-pages")
    page = await get(api, DOCUMENTS, options=json.dumps({"limit": 500}))
    assert len(page["documents"]) == 100
    sandbox.variants = Variants()
    page = await get(api, DOCUMENTS, options=json.dumps({"limit": 500}))
    assert len(page["documents"]) == 121


async def test_query_ignored(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sandbox.platform.add_document("job", external_id="B")
    sandbox.variants = Variants.named("query-ignored")
    page = await get(api, DOCUMENTS, query=json.dumps({"externalId": "B"}))
    assert [document["externalId"] for document in page["documents"]] == ["A", "B"]


async def test_skip_only(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sandbox.platform.add_document("job", external_id="B")
    sandbox.variants = Variants.named("skip-only")
    refused = await api.get(DOCUMENTS, params={"query": json.dumps({"_id": {"$gt": ""}})})
    assert refused.status_code == 400
    page = await get(api, DOCUMENTS, options=json.dumps({"skip": 1}))
    assert [document["externalId"] for document in page["documents"]] == ["B"]


async def test_definitions_list_denied(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sandbox.variants = Variants.named("no-definitions-list")
    assert (await api.get("document-definitions")).status_code == 403
    assert (await get(api, "document-definitions/job"))["documentDefinition"]["name"] == "job"


async def test_definitions_without_fields(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sandbox.variants = Variants.named("no-field-list")
    (definition,) = (await get(api, "document-definitions"))["documentDefinitions"]
    assert set(definition) == {"_id", "name", "label"}


async def test_lines_by_index(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sandbox.variants = Variants.named("lines-by-index")
    assert (await saved(api, ("x", b"1"), valuePath="rows.1.photo")).status_code == 200
    rows = (await get(api, A))["document"]["rows"]
    assert [len(row["photo"]) for row in rows] == [0, 1]
    for wrong in (rows[1]["_id"], "2", "-1"):
        answer = await saved(api, ("x", b"1"), valuePath=f"rows.{wrong}.photo")
        assert answer.status_code == 404


async def test_silent_copy(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sandbox.variants = Variants.named("silent-copy")
    ends = {"ddName": "job", "externalId": "A"}
    body = [{"source": {**ends, "valuePath": "photos"}, "target": {**ends, "valuePath": "scan"}}]
    assert (await api.post("documents/copyAttachments", json=body)).json() == {"status": "ok"}
    assert len(sandbox.platform.attachments("job", "A", "scan")) == 1


async def test_save_answers_with_the_whole_field(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sandbox.variants = Variants.named("save-answers-field")
    answer = (await saved(api, ("b.txt", b"1"))).json()
    assert [file["_fileName"] for file in answer["attachments"]] == ["a.txt", "b.txt"]


async def test_action_must_be_upload(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sandbox.variants = Variants.named("action-upload")
    for refused in ({}, {"actionType": "append"}):
        assert (await saved(api, ("b", b"1"), **refused)).status_code == 400
    assert (await saved(api, ("b", b"1"), actionType="Upload")).status_code == 200
    assert (await saved(api, ("c", b"1"), actionType="replace")).status_code == 200
    assert len(sandbox.platform.attachments("job", "A", "photos")) == 1


async def test_another_part_name(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sandbox.variants = Variants.named("other-part-name")
    assert (await saved(api, ("b", b"1"))).status_code == 400
    assert (await saved(api, ("b", b"1"), part="attachments")).status_code == 200


async def test_status_word(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sandbox.variants = Variants.named("status-success")
    assert (await photos(api))["status"] == "success"
    assert (await get(api, A))["status"] == "success"


async def test_images_resized_in_every_field(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sandbox.variants = Variants.named("images-resized")
    buffer = BytesIO()
    Image.new("RGB", (1000, 500)).save(buffer, "PNG")
    (file,) = (await saved(api, ("p.png", buffer.getvalue()))).json()["attachments"]
    assert (file["_width"], file["_height"]) == (800, 400)
    stored = sandbox.platform.attachments("job", "A", "photos")[1].data
    assert Image.open(BytesIO(stored)).size == (800, 400)


async def test_v1_limits(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sandbox.variants = Variants.named("v1-limits")
    assert sandbox.variants.call_bytes == 100 * 1024 * 1024
    assert (await saved(api, *[("b", b"1")] * 3)).status_code == 200
    refused = await saved(api, *[("b", b"1")] * 4)
    assert (refused.status_code, "more than 3 files" in refused.text) == (400, True)
    sandbox.variants = sandbox.variants.changed({"call_bytes": 10_000})
    refused = await saved(api, ("b", b"x" * 6000), ("c", b"x" * 6000))
    assert (refused.status_code, "more than 10000 bytes" in refused.text) == (400, True)
    assert len(sandbox.platform.attachments("job", "A", "photos")) == 4


async def test_slow_queries_are_answered_by_500_beyond_the_limit(
    api: httpx.AsyncClient, sandbox: Sandbox
) -> None:
    sandbox.platform.add_document("job", external_id="B")
    slow = Variants.named("slow-queries")
    assert slow.query_seconds_per_document * 500 > slow.query_limit == 3.0
    sandbox.variants = slow.changed({"query_seconds_per_document": 0.02, "query_limit": 0.03})
    refused = await api.get(DOCUMENTS)
    assert (refused.status_code, refused.json()["status"]) == (500, "error")
    page = await get(api, DOCUMENTS, options=json.dumps({"limit": 1}))
    assert len(page["documents"]) == 1


async def test_hidden_fields(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sandbox.variants = Variants.named("hidden-fields")
    assert "scan" not in (await get(api, A))["document"]
    assert (await saved(api, ("b", b"1"), valuePath="scan")).status_code == 403
    (definition,) = (await get(api, "document-definitions"))["documentDefinitions"]
    assert [field["name"] for field in definition["fields"]] == ["photos"]


async def test_clashing_external_ids(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    sandbox.variants = Variants.named("clashing-external-ids")
    documents = (await get(api, DOCUMENTS))["documents"]
    shared = [document for document in documents if document["externalId"] == "twin"]
    assert len(shared) == 2
    assert (await get(api, f"{DOCUMENTS}/twin"))["document"]["_id"] == shared[0]["_id"]
    (namesake,) = (document for document in documents if document["externalId"] == shared[0]["_id"])
    found = (await get(api, f"{DOCUMENTS}/{namesake['externalId']}"))["document"]
    assert found["_id"] == shared[0]["_id"]


async def test_all_variants_that_go_together_do(api: httpx.AsyncClient, sandbox: Sandbox) -> None:
    alone = {"no-definitions-list", "bare-lists", "slow-queries", "hidden-fields"}
    sandbox.variants = Variants.named(*[name for name in PRESETS if name not in alone])
    answer = await saved(api, ("b.txt", b"1"), part="attachments", actionType="Upload")
    body = answer.json()
    assert (answer.status_code, body["status"]) == (200, "success")
    assert [file["fileName"] for file in body["result"]] == ["a.txt", "b.txt"]
