"""Variants, faults, holds, signatures and ranges: the sandbox's small pure pieces."""

from dataclasses import fields

import pytest
import trio

from aerofs.sandbox.downloads import byte_range
from aerofs.sandbox.faults import Fault, Faults
from aerofs.sandbox.signing import Signer
from aerofs.sandbox.traffic import Seen, Traffic
from aerofs.sandbox.variants import PRESETS, Variants


def test_presets_combine() -> None:
    assert Variants.named("no-sizes", "capped-pages") == Variants(no_sizes=True, page_cap=100)
    assert Variants(no_range=True).also("no-sizes") == Variants(no_range=True, no_sizes=True)
    with pytest.raises(ValueError, match="no variant 'nonsense'"):
        Variants.named("nonsense")


def test_every_variant_can_be_had_by_a_name() -> None:
    reachable = {key for preset in PRESETS.values() for key in preset}
    alone = {"query_limit"}
    assert reachable == {field.name for field in fields(Variants)} - alone
    assert all(Variants.named(name) != Variants() for name in PRESETS)


def test_attributes_come_from_json() -> None:
    assert Variants().changed({"hidden_fields": ["scan"], "page_cap": 7}) == Variants(
        hidden_fields=("scan",), page_cap=7
    )
    with pytest.raises(ValueError, match="no variant attribute nonsense"):
        Variants().changed({"nonsense": 1})


def test_a_fault_strikes_as_often_as_ordered_after_those_let_pass() -> None:
    faults = Faults()
    faults.add(Fault("save", "cut", count=2, after=1))
    struck = [faults.take("save", "/x") is not None for _ in range(5)]
    assert struck == [False, True, True, False, False]
    assert not list(faults)


def test_a_fault_without_a_count_strikes_for_ever_and_only_its_kind_and_path() -> None:
    faults = Faults()
    faults.add(Fault("*", "cut", count=None, path="/invoice/"))
    assert all(faults.take("save", "/invoice/1") for _ in range(10))
    assert faults.take("save", "/employee/1") is None
    faults.clear()
    faults.add(Fault("list", "cut"))
    assert faults.take("save", "/invoice/1") is None


def test_a_fault_is_read_from_a_command_line() -> None:
    parsed = Fault.parse("save:status,status=429,retry_after=1.5,count=all,after=2,path=/x,side=request")
    assert parsed == Fault(
        "save", "status", count=None, after=2, status=429, retry_after=1.5, path="/x", side="request"
    )
    assert Fault.from_json(parsed.to_json()) == parsed


@pytest.mark.parametrize(
    "text", ["save", "nonsense:cut", "save:nonsense", "save:delay", "save:cut,nonsense=1", "save:cut,at=x"]
)
def test_a_fault_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"a fault|a delay|no kind|no action|invalid literal"):
        Fault.parse(text)


async def test_a_hold_tells_who_has_arrived_and_lets_all_go() -> None:
    faults = Faults()
    passed = []

    async def request(number: int) -> None:
        await faults.pass_holds("save", "/x", answered=False)
        passed.append(number)

    async with trio.open_nursery() as nursery:
        with faults.hold("save") as hold:
            nursery.start_soon(request, 1)
            nursery.start_soon(request, 2)
            await hold.arrived(2)
            await faults.pass_holds("list", "/x", answered=False)
            await faults.pass_holds("save", "/x", answered=True)
            assert passed == []
    assert sorted(passed) == [1, 2]


def test_counters_reset_but_remember_what_is_under_way() -> None:
    traffic = Traffic()
    traffic.begin(Seen("list", "GET", "/a"))
    traffic.begin(Seen("list", "GET", "/b"))
    assert (traffic.requests["list"], traffic.peak["list"]) == (2, 2)
    traffic.reset()
    traffic.end("list")
    assert traffic.to_json() == {
        "requests": {},
        "bytesIn": {},
        "bytesOut": {},
        "underWay": {"list": 1},
        "peak": {},
    }


def test_a_signature_is_good_for_its_path_and_its_time() -> None:
    signer = Signer(b"secret")
    path, _, query = signer.signed("/a/é", life=60).partition("?")
    told = dict(pair.split("=") for pair in query.split("&"))
    assert signer.refusal(path, told) is None
    assert signer.refusal("/a/b", told) == "The request signature does not match"
    assert (
        signer.refusal(path, {**told, "expires": "9999999999.000"}) == "The request signature does not match"
    )
    assert signer.refusal(path, {}) == "The request signature does not match"
    assert Signer(b"other").refusal(path, told) == "The request signature does not match"
    path, _, query = signer.signed("/a/é", life=-1).partition("?")
    assert signer.refusal(path, dict(pair.split("=") for pair in query.split("&"))) == "Request has expired"


@pytest.mark.parametrize(
    ("header", "size", "expected"),
    [
        ("", 10, None),
        ("bytes=0-3", 10, range(4)),
        ("bytes=5-", 10, range(5, 10)),
        ("bytes=-3", 10, range(7, 10)),
        ("bytes=-30", 10, range(10)),
        ("bytes=8-99", 10, range(8, 10)),
        ("bytes=10-", 10, range(10, 10)),
        ("bytes=-0", 10, range(10, 10)),
        ("bytes=0-0", 0, range(0)),
        ("bytes=3-2", 10, None),
        ("bytes=-", 10, None),
        ("bytes=0-1,3-4", 10, None),
        ("lines=0-1", 10, None),
    ],
)
def test_a_range_header_means_what_rfc_9110_says(header: str, size: int, expected: range | None) -> None:
    part = byte_range(header, size)
    assert (part is None) == (expected is None)
    assert list(part or ()) == list(expected or ())
