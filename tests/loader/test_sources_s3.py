from __future__ import annotations

import dataclasses
import datetime
import functools
import http.client
import itertools
import tracemalloc
import urllib.parse
from collections.abc import Mapping
from typing import Any

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import hypothesis
import pytest
from hypothesis import strategies

from datasets.loader.base import failure, tasks
from datasets.loader.http import http_client
from datasets.loader.sources import expansion, s3, s3_list, s3_service, s3_signature, xml_reader
from datasets.loader.sources.source_object import SourceObject
from sandbox.servers import s3_server
from tests.loader import loader_rig, sources_rig

NOW = datetime.datetime(2024, 2, 29, 12, 0, 1, tzinfo=datetime.timezone.utc)
KEYS = [
    "plain",
    "a b",
    "a+b",
    "ünï/cödé",
    "a//b",
    "~tilde",
    "100%",
    "a=b&c",
    "?x#y",
    "'(*)!",
    "a\\b",
]
ODD = {f"p/{key}" for key in KEYS} - {"p/a//b"}


@pytest.fixture
def served():
    with s3_server.Buckets.start() as started:
        yield started


def task(
    served: s3_server.Buckets, *sources: str, signed: bool = True, **fields: Any
) -> tasks.Task:
    keys = {
        "access-key": served.credentials.access_key,
        "secret-key": served.credentials.secret_key,
    }
    return tasks.Task(
        "x",
        "v",
        "f",
        **{
            "sources": tuple(tasks.Source(each) for each in sources),
            "endpoint": served.url,
            "credentials": keys if signed else {},
            "opening_seconds": 1,
            **fields,
        },
    )


def expand(
    served: s3_server.Buckets, *sources: str, aws: bool = False, **fields: Any
) -> list[SourceObject]:
    asked = task(served, *sources, **{**({"endpoint": ""} if aws else {}), **fields})
    return sources_rig.expand(asked, served.port)


def refusal(served: s3_server.Buckets, *sources: str, **fields: Any) -> str:
    with pytest.raises(failure.Failure) as raised:
        expand(served, *sources, **fields)
    assert ": " in str(raised.value), "what is so: what to do"
    assert served.credentials.access_key not in str(raised.value)
    assert served.credentials.secret_key not in str(raised.value)
    return str(raised.value)


def fetch(served: s3_server.Buckets, found: SourceObject, **fields: Any) -> bytes:
    return sources_rig.fetch(task(served, "s3://bucket/key", **fields), found, served.port)


# --- the signature


def theirs(url: str, region: str, credentials: Mapping[str, str]) -> str:
    keys = botocore.credentials.Credentials(
        credentials["access-key"], credentials["secret-key"], credentials.get("session-token")
    )
    request = botocore.awsrequest.AWSRequest(
        "GET", url, headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
    )
    if keys.token:
        request.headers["X-Amz-Security-Token"] = keys.token
    request.headers["X-Amz-Date"] = request.context["timestamp"] = NOW.strftime("%Y%m%dT%H%M%SZ")
    auth = botocore.auth.S3SigV4Auth(keys, "s3", region)
    text = auth.string_to_sign(request, auth.canonical_request(request))
    return auth.signature(text, request)


def ours(url: str, region: str, credentials: Mapping[str, str]) -> Mapping[str, str]:
    return s3_signature.signer(credentials, region, lambda: NOW)("GET", url)


def check(url: str, region: str, **token: str) -> None:
    credentials = {"access-key": "AKID", "secret-key": "s+cr/t", **token}
    signed = ours(url, region, credentials)
    authorization = signed["Authorization"]
    assert authorization.endswith(f"Signature={theirs(url, region, credentials)}")
    assert f"/{region}/s3/aws4_request" in authorization
    assert "s+cr/t" not in str(signed)


@pytest.mark.parametrize("key", KEYS)
def test_a_signature_is_the_one_that_botocore_makes(key: str):
    path = s3_signature.encode(key, safe="/")
    check(f"https://bucket.s3.eu-west-1.amazonaws.com/{path}", "eu-west-1")
    check(f"http://127.0.0.1:9000/bucket/{path}", "us-east-1")
    check(
        f"https://s3.us-east-1.amazonaws.com:443/a.b/{path}",
        "us-east-1",
        **{"session-token": "tok/en=="},
    )


@sources_rig.FREE
@hypothesis.given(
    key=strategies.text(min_size=1), value=strategies.text(), other=strategies.text()
)
def test_any_key_and_query_are_signed_as_botocore_does(key: str, value: str, other: str):
    path = s3_signature.encode(key.encode(errors="replace").decode(), safe="/")
    values = {
        "prefix": value.encode(errors="replace").decode(),
        "list-type": "2",
        "a-b": other.encode(errors="replace").decode(),
        "a": "",
    }
    query = urllib.parse.urlencode(values, quote_via=urllib.parse.quote, safe="")
    check(f"https://b.s3.eu-west-1.amazonaws.com/{path}?{query}", "eu-west-1")


def test_without_a_key_nothing_is_signed():
    assert ours("https://b.s3.amazonaws.com/k", "", {}) == {}
    assert ours("https://b.s3.amazonaws.com/k", "", {"token": "hf"}) == {}


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://b.s3.amazonaws.com/k", "us-east-1"),
        ("https://b.s3.eu-west-1.amazonaws.com/k", "eu-west-1"),
        ("https://b.s3-eu-west-1.amazonaws.com/k", "eu-west-1"),
        ("https://b.s3.cn-north-1.amazonaws.com.cn/k", "cn-north-1"),
        ("https://s3.dualstack.eu-west-1.amazonaws.com/b/k", "eu-west-1"),
        ("https://minio.example/b/k", ""),
        ("https://s3.eu-west-1.amazonaws.com.evil.example/k", ""),
    ],
)
def test_the_region_is_in_the_hosts_of_aws(url: str, region: str):
    assert s3_signature.region_of(url) == region


# --- objects and prefixes


@pytest.mark.parametrize("aws", [False, True])
@pytest.mark.parametrize("signed", [False, True])
def test_a_key_that_is_there_is_one_entry(served: s3_server.Buckets, aws: bool, signed: bool):
    served.make("public-data", public=True)
    served.put("public-data", {"k": b"12345", "k/1": b"1", "k2": b"2"})
    (found,) = expand(served, "s3://public-data/k", aws=aws, signed=signed)
    assert (found.size, found.listed, found.auth, found.path) == (5, False, "s3", "")
    assert found.validator.startswith('"')
    assert fetch(served, found, signed=signed, **({"endpoint": ""} if aws else {})) == b"12345"


@pytest.mark.parametrize("key", sorted(ODD))
def test_an_odd_key_is_found_and_fetched(served: s3_server.Buckets, key: str):
    served.make("private-data")
    served.put("private-data", {key: key.encode()})
    (found,) = expand(served, f"s3://private-data/{urllib.parse.quote(key)}")
    assert fetch(served, found) == key.encode()


@pytest.mark.parametrize("source", ["s3://private-data/p/", "s3://private-data/p"])
def test_a_prefix_is_all_that_is_below_it(served: s3_server.Buckets, source: str):
    served.make("private-data")
    served.put(
        "private-data", {key: key.encode() for key in ODD} | {"p2": b"", "p/": b"", "q": b""}
    )
    found = expand(served, source)
    assert {each.path for each in found} == {key[2:] for key in ODD}
    assert all(each.listed and each.size == len(f"p/{each.path}".encode()) for each in found)
    assert all(fetch(served, each) == f"p/{each.path}".encode() for each in found)


def test_a_whole_bucket_goes_below_the_path_of_its_source(served: s3_server.Buckets):
    served.make("dotted.bucket", public=True)
    served.put("dotted.bucket", {"a/b": b"1", "empty": b""})
    asked = tasks.Source("s3://dotted.bucket", path="train")
    found = expand(served, aws=True, sources=(asked,))
    assert [each.path for each in found] == ["train/a/b", "train/empty"]
    assert found[0].url == "https://s3.us-east-1.amazonaws.com/dotted.bucket/a/b"


def test_more_objects_than_a_page_has_are_found_in_little_memory(served: s3_server.Buckets):
    served.make("private-data")
    served.put("private-data", {f"p/{number:05}": b"" for number in range(2500)})
    asked = task(served, "s3://private-data/p")

    def pages() -> set[str]:
        # A page that is late on a busy machine is requested again.
        return {each.query for each in served.requests}

    with sources_rig.client(asked) as client:
        found = expansion.expand(asked, client)
        assert next(found).path == "00000"
        assert len(pages()) == 2
        assert [each.path for each in found] == [f"{number:05}" for number in range(1, 2500)]
    assert len(pages()) == 4


def test_who_may_not_list_reads_one_object_all_the_same(served: s3_server.Buckets):
    served.make("public-data", public=True, listable=False)
    served.put("public-data", {"k": b"12345"})
    (found,) = expand(served, "s3://public-data/k", signed=False)
    assert (found.size, found.listed) == (5, False)
    assert "AccessDenied: it is not public" in refusal(
        served, "s3://public-data/other/", signed=False
    )


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("p/a//b", "is empty"),
        ("p/../x", ". or .."),
        ("p/./x", ". or .."),
        ("p//x", "is absolute"),
        ("p/dir/", "is empty"),
    ],
)
def test_a_key_that_cannot_be_a_path_is_refused(served: s3_server.Buckets, key: str, reason: str):
    served.make("private-data")
    served.put("private-data", {key: b"content"})
    error = refusal(served, "s3://private-data/p/")
    assert reason in error
    assert repr(key) in error


def test_nothing_at_a_prefix_is_refused(served: s3_server.Buckets):
    served.make("private-data")
    served.put("private-data", {"p2": b"", "q/": b""})
    assert "s3://private-data/p names no object" in refusal(served, "s3://private-data/p")
    assert "names no object" in refusal(served, "s3://private-data/q/")


# --- regions


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("region", ["", "us-east-1", "eu-west-1"])
@pytest.mark.parametrize("name", ["far-away", "far.away"])
def test_the_region_of_a_bucket_is_found_out(
    served: s3_server.Buckets, signed: bool, region: str, name: str
):
    served.make(name, region="eu-west-1", public=True)
    served.put(name, {"k": b"1"})
    (found,) = expand(served, f"s3://{name}/k", aws=True, signed=signed, region=region)
    assert "s3.eu-west-1.amazonaws.com" in found.url
    assert fetch(served, found, endpoint="", signed=signed) == b"1"


@pytest.mark.parametrize("signed", [False, True])
def test_a_bucket_that_is_new_in_its_region_is_found(served: s3_server.Buckets, signed: bool):
    served.make("far-away", region="eu-west-1", public=not signed, fresh=True)
    served.put("far-away", {"p/k": b"1", "p/l": b"2"})
    found = expand(served, "s3://far-away/p", aws=True, signed=signed)
    assert [each.path for each in found] == ["k", "l"]
    assert fetch(served, found[0], endpoint="", signed=signed) == b"1"


def test_an_endpoint_of_another_region_says_which(served: s3_server.Buckets):
    served.make("far-away", region="eu-west-1")
    error = refusal(served, "s3://far-away/k")
    assert "is in the region 'eu-west-1': set region=" in error
    served.put("far-away", {"k": b"1"})
    assert expand(served, "s3://far-away/k", region="eu-west-1")


# --- refusals of S3


def keys(served: s3_server.Buckets, **changed: str) -> dict[str, Any]:
    return {
        "credentials": {
            "access-key": served.credentials.access_key,
            "secret-key": served.credentials.secret_key,
            **{name.replace("_", "-"): value for name, value in changed.items()},
        }
    }


def test_refusals_say_what_to_do(served: s3_server.Buckets):
    served.make("private-data")
    source = "s3://private-data/k"
    served.expired.add("old")
    assert "NoSuchBucket): there is no such bucket" in refusal(served, "s3://no-such-bucket/k")
    assert "AccessDenied: it is not public; give credentials=" in refusal(
        served, source, signed=False
    )
    assert "the secret-key does not belong" in refusal(
        served, source, **keys(served, secret_key="wrong")
    )
    assert "the service does not know the access-key" in refusal(
        served, source, **keys(served, access_key="wrong")
    )
    assert "the credentials have expired" in refusal(
        served, source, **keys(served, session_token="old")
    )


def test_credentials_that_do_not_open_a_bucket_are_refused(served: s3_server.Buckets):
    served.make("private-data", listable=False)
    error = refusal(served, "s3://private-data/p/")
    assert "AccessDenied: the credentials give no access to it" in error


def test_a_clock_that_is_wrong_is_named(
    served: s3_server.Buckets, monkeypatch: pytest.MonkeyPatch
):
    served.make("private-data")
    signer = functools.partial(s3_signature.signer, now=lambda: NOW)
    monkeypatch.setattr(s3_signature, "signer", signer)
    assert "the clock of the pod's node is wrong" in refusal(served, "s3://private-data/k")


@pytest.mark.parametrize("source", ["s3://private-data/p", "s3://private-data/p/k"])
def test_archived_objects_have_to_be_restored(served: s3_server.Buckets, source: str):
    served.make("private-data")
    served.put("private-data", {"p/k": b"1"}, storage="GLACIER")
    error = refusal(served, source)
    assert "s3://private-data/p/k cannot be read (InvalidObjectState)" in error
    assert "restore it" in error


def test_objects_that_are_read_at_once_may_be_cold(served: s3_server.Buckets):
    served.make("private-data")
    served.put("private-data", {"p/k": b"1"}, storage="GLACIER_IR")
    assert len(expand(served, "s3://private-data/p")) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"hello",
        b"<html><body>hi</body></html>",
        b"<ListBucketResult><Contents><Key>k</Key></Contents></ListBucketResult>",
        b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><ListBucketResult>&a;</ListBucketResult>',
        b"",
    ],
)
def test_what_is_no_s3_is_refused(body: bytes, monkeypatch: pytest.MonkeyPatch):
    def answer(*_: object, **__: object) -> http_client.Body:
        return http_client.Body(body, http.client.HTTPMessage(), 200, "")

    monkeypatch.setattr(http_client.Client, "body", answer)
    found = s3.S3Reader(http_client.Client(1), s3_service.S3Service("http://127.0.0.1:1"))
    with pytest.raises(failure.Failure, match=r"does not list it as S3 does .*check endpoint="):
        list(found.expand("s3://bucket/p/"))


def test_keys_are_read_as_they_are_where_a_service_does_not_encode_them():
    body = (
        b"<ListBucketResult xmlns='http://s3.amazonaws.com/doc/2006-03-01/'><Contents><Key> a+b%20"
        b"</Key><Size>1</Size><ETag>x</ETag></Contents></ListBucketResult>"
    )
    (found,) = s3_list.read(body, "bucket").objects
    assert (found.key, found.tag) == (" a+b%20", "")
    encoded = body.replace(b"</Contents>", b"</Contents><EncodingType>url</EncodingType>")
    (found,) = s3_list.read(encoded, "bucket").objects
    assert found.key == " a b "


REFUSED = {
    "ExpiredToken": (
        400,
        "The provided token has expired.",
        "the credentials have expired: put new",
    ),
    "RequestExpired": (400, "Request has expired", "the credentials have expired: put new"),
    "AccessDenied": (403, "no permission to perform: kms:Decrypt on the key", "kms:Decrypt"),
    "KMS.DisabledException": (400, "The key is disabled.", "which must be enabled"),
    "InvalidRequest": (
        400,
        "The object was stored using a form of Server Side Encryption. The correct parameters "
        "must be provided to retrieve the object.",
        "a key of its owner's (SSE-C), which is not supported",
    ),
    "InvalidArgument": (
        400,
        "Requests specifying Server Side Encryption with AWS KMS managed keys require AWS "
        "Signature Version 4.",
        "give credentials=secret:<id> with access-key",
    ),
    "InvalidObjectState": (403, "The operation is not valid", "restore it in S3"),
    "PermanentRedirect": (301, "The bucket must be addressed elsewhere", "set region= to it"),
    "Odd": (418, "?", "answers Odd: check the source"),
}


@pytest.mark.parametrize("code", REFUSED)
def test_a_refusal_of_an_object_is_explained_as_one_of_a_list(
    rig: loader_rig.Rig, served: s3_server.Buckets, code: str
):
    status, message, expected = REFUSED[code]
    served.make("private-data", region="eu-west-1")
    served.put("private-data", {"p/a": b"1", "p/b": b"2" * 9})
    served.refusals["private-data", "p/b"] = status, code, message
    asked = task(served, "s3://private-data/p", region="eu-west-1")
    error = rig.run(dataclasses.replace(asked, root=str(rig.volume)).to_json()).error
    assert expected in error
    assert "/private-data/p/b" in error


def test_an_expired_token_in_the_middle_keeps_what_is_there_and_goes_on_with_a_new_one(
    rig: loader_rig.Rig, served: s3_server.Buckets
):
    files = {f"p/{number:03}": b"%d" % number * 9000 for number in range(200)}
    served.make("private-data")
    served.put("private-data", files)
    served.refusals["private-data", "p/150"] = 400, "ExpiredToken", "The token has expired."
    asked = dataclasses.replace(task(served, "s3://private-data/p"), root=str(rig.volume))
    error = rig.run(asked.to_json()).error
    assert "ExpiredToken" in error
    assert "put new ones into the secret, then run create-dataset again" in error
    kept = len([path for path in rig.volume.rglob("tree/*") if path.is_file()])
    assert kept > 0
    served.refusals.clear()
    served.requests.clear()
    again = dataclasses.replace(asked, request="w")
    assert rig.run(again.to_json()).result.files == 200
    assert rig.files() == {key[2:]: content for key, content in files.items()}
    # What had been fetched is not fetched again.
    assert len([each for each in served.requests if "/p/" in each.path]) < 200


@pytest.mark.parametrize("requester_pays", [False, True])
def test_a_bucket_whose_requester_pays_is_read_by_who_says_so(
    served: s3_server.Buckets, requester_pays: bool
):
    served.make("paid-data", requester_pays=True)
    served.put("paid-data", {"k": b"12345"})
    if not requester_pays:
        assert "set requester-pays=true" in refusal(served, "s3://paid-data/k")
        return
    (found,) = expand(served, "s3://paid-data/k", requester_pays=True)
    assert fetch(served, found, requester_pays=True) == b"12345"


@pytest.mark.parametrize("name", ["Old_Bucket", "under_score", "UPPER", "dots.and_more"])
def test_buckets_have_names_that_aws_would_not_allow(name: str):
    service = s3_service.S3Service("https://minio.example/")
    assert service.base(name, "") == f"https://minio.example/{name}"
    assert s3_service.S3Service().base(name, "") == f"https://s3.amazonaws.com/{name}"


KEY_ORDERS = [
    (["a", "a/b"], {"a": 0}, ["a/b"]),
    (["a", "a-b", "a.x", "a/b", "b"], {"a": 0}, ["a-b", "a.x", "a/b", "b"]),
    (["a", "a/b", "a/b/c"], {"a": 0, "a/b": 0}, ["a/b/c"]),
    (["a", "ab"], {"a": 0}, ["a", "ab"]),
    (["a", "a!", "a!/x", "a/"], {"a!": 0, "a/": 5}, None),
    (["a", "a/b"], {}, None),
]


@pytest.mark.parametrize(("keys", "sizes", "expected"), KEY_ORDERS)
def test_an_empty_object_beside_its_prefix_is_its_directory(
    keys: list[str], sizes: dict[str, int], expected: list[str] | None
):
    objects = [s3_list.ListedObject(key, sizes.get(key, 9), "", False) for key in keys]
    if expected is None:
        with pytest.raises(failure.Failure, match="leave one of them out with exclude="):
            list(s3_list.without_markers(objects, "bucket"))
        return
    found = [each.key for each in s3_list.without_markers(objects, "bucket")]
    assert sorted(found) == expected


def test_a_prefix_with_an_empty_object_of_its_name_is_a_prefix(served: s3_server.Buckets):
    served.make("private-data")
    served.put("private-data", {"a": b"", "a/b": b"1", "lone": b"", "full": b"1", "full/x": b"2"})
    assert [each.path for each in expand(served, "s3://private-data/a")] == ["b"]
    assert [each.size for each in expand(served, "s3://private-data/lone")] == [0]
    assert [each.size for each in expand(served, "s3://private-data/full")] == [1]
    assert "leave one of them out with exclude=" in refusal(served, "s3://private-data")
    found = expand(served, "s3://private-data", exclude=("full/*",))
    assert {each.path for each in found} == {"a/b", "lone", "full"}
    found = expand(served, "s3://private-data", include=("a/*", "lone"))
    assert {each.path for each in found} == {"a/b", "lone"}


# --- XML


def test_xml_is_read_in_little_memory():
    def endless(count: int):
        yield b"<r>"
        for number in range(count):
            yield b"<k><v>%d</v></k>" % number + b"<other>" + b"x" * 100 + b"</other>"
        yield b"</r>"

    tracemalloc.start()
    count = sum(1 for _ in xml_reader.elements(endless(5_000), ["k"]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 5_000
    assert peak < 300_000


@pytest.mark.parametrize(
    ("start", "chunk", "message"),
    [
        (b"<r>", b"<k>" * 10, "nested more than 64 deep"),
        (b"<r>", b"<x>" * 10, "nested more than 64 deep"),
        (b"<r a='", b"x" * 2**14, "a tag has more than 1048576 bytes"),
        (b"<r><k>", b"x" * 2**14, "an element has more than 1048576 bytes"),
        (b"<r><k>", b"<p/>" * 2**10, "an element has more than 1048576 bytes"),
    ],
)
def test_xml_that_never_ends_is_refused(start: bytes, chunk: bytes, message: str):
    endless = itertools.chain([start], itertools.repeat(chunk, 1000))
    with pytest.raises(xml_reader.Malformed, match=message):
        list(xml_reader.elements(endless, ["k"]))
    assert next(endless, b""), "it is not read to its end"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'<!DOCTYPE r [<!ENTITY a "b">]><r>&a;</r>', "declares a document type"),
        (b"<r>", "line 1 is not XML"),
        (b"<r>\n</k>", "line 2 is not XML"),
    ],
)
def test_xml_that_is_none_is_refused(content: bytes, message: str):
    with pytest.raises(xml_reader.Malformed, match=message):
        list(xml_reader.elements([content], ["k"]))
