from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies

from datasets.loader.base import urls
from datasets.loader.sources import hub_url, table
from tests.loader import sources_rig

GOOD = [
    "https://a.example/x.tar?sig=1",
    "http://127.0.0.1:8000/x",
    "s3://bucket",
    "s3://bucket/",
    "s3://my.bucket-1/a%20b/c+d~/",
    "S3://bucket/key",
    "hf://datasets/squad",
    "hf://datasets/org/name",
    "hf://datasets/org/name/",
    "hf://datasets/org/name/data/x.parquet",
    "hf://datasets/org/name@v1.0",
    "hf://org/name",
    "hf://gpt2",
    "hf://org/name@v1/config.json",
    "hf://spaces/org/name",
    "s3://Old_Bucket/key",
    "s3://ab/key",
    "hf://datasets/org/na.me_1-2@refs/convert/parquet/default",
    "volume:/inbox",
    "volume:///inbox",
    "volume:/inbox/photos/",
    "volume:/namespaces/research/out%20put/%C3%BC.tar",
    "volume:/datasets-of-mine/x",
]
BAD = {
    "ftp://a.example/x": "use https://host/path, s3://bucket/key, hf://datasets/org/name or "
    "volume:/path",
    "gs://bucket/x": "use https://host/path, s3://bucket/key, hf://datasets/org/name or "
    "volume:/path",
    "file:///etc/passwd": "use https://host/path, s3://",
    "bucket/key": "use https://host/path, s3://",
    "": "use https://host/path, s3://",
    "https://": "names no host",
    "https:///x": "names no host",
    "https://[/x": "is not a URL",
    "https://a b/": "write them as %20",
    "s3://": "names no bucket",
    "s3:///key": "names no bucket",
    "s3://a/key": "letters, digits, dots, dashes and underscores",
    "s3://192.168.0.1/key": "names no bucket",
    "s3://a..b/key": "names no bucket",
    "s3://-bucket/key": "names no bucket",
    "s3://bucket:80/key": "names no bucket",
    "s3://bucket/key?versionId=1": "has a query",
    "s3://bucket/key#x": "has a query or a fragment",
    "s3://bucket/%ff": "not UTF-8",
    "s3://bucket/a%00": "zero byte",
    "s3://me:hunter2@bucket/key": "has credentials in its URL",
    "hf://models/org/name": "names a model with models/ before it: use hf://org/name",
    "hf://": "names no repository",
    "hf://org@main/name": "has credentials in its URL",
    "hf://datasets": "names no repository",
    "hf://datasets/": "names no repository",
    "hf://datasets//name": "names no repository",
    "hf://datasets/-org/name": "names no repository",
    "hf://datasets/org/name@": "names no revision",
    "hf://datasets/org/name@/x": "names no revision",
    "hf://datasets/org/name@a..b": "names no revision",
    "hf://datasets/org/name/../x": ". and ..",
    "hf://datasets/org/name/a//b": ". and ..",
    "hf://datasets/org/name/%2e%2e/x": ". and ..",
    "hf://datasets/org/name?x=1": "has a query",
    "hf://hf_hunter2@datasets/org/name": "has credentials in its URL",
    "volume:": "names no path from the volume's root",
    "volume:inbox": "names no path from the volume's root",
    "volume://inbox/photos": "use volume:/path, with one slash",
    "volume:/": "is the whole volume",
    "volume:/inbox//x": "a part of it is empty",
    "volume:/inbox/../datasets": "it has . or .. in it",
    "volume:/inbox/%2e%2e/datasets": "it has . or .. in it",
    "volume:/inbox%2f..%2fdatasets": "it has . or .. in it",
    "volume:/./datasets": "it has . or .. in it",
    "volume:/inbox/a%00": "zero byte",
    "volume:/inbox/%ff": "not UTF-8",
    "volume:/inbox?x=1": "has a query",
    "volume:/" + "a/" * 300: "too deep",
    "volume:/.aws-efs/dynamic/default-x": "is in /.aws-efs, which is the charm's",
    "volume:/datasets": "is in /datasets, which has the data sets",
    "volume:/datasets/x": "is in /datasets",
    "volume:/%64atasets/.versions/x": "is in /datasets",
}


@pytest.mark.parametrize("url", GOOD)
def test_a_source_that_can_be_read_is_accepted(url: str):
    table.check(url)


@pytest.mark.parametrize("url", BAD)
def test_a_source_that_cannot_be_read_is_refused(url: str):
    with pytest.raises(ValueError) as raised:
        table.check(url)
    assert BAD[url] in str(raised.value)
    assert "hunter2" not in str(raised.value)


@sources_rig.FREE
@hypothesis.given(
    start=strategies.sampled_from(["", "s3://", "hf://datasets/", "https://"]),
    text=strategies.text(alphabet="shtpf3:/@.?#[]%a0-_", max_size=40),
)
def test_whatever_is_no_source_is_refused_in_one_way(start: str, text: str):
    try:
        table.check(start + text)
    except ValueError as error:
        assert type(error) is ValueError
    else:
        assert "@" not in urls.redact(start + text).partition("://")[2].partition("/")[0]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:pw@a.example/x?sig=1", "https://a.example/x?..."),
        ("s3://bucket/a/b", "s3://bucket/a/b"),
        ("hf://datasets/org/name@v1/x", "hf://datasets/org/name@v1/x"),
        ("volume:/inbox/a%20b", "volume:/inbox/a%20b"),
        ("volume:///inbox", "volume:/inbox"),
    ],
)
def test_a_source_is_shown_without_what_is_secret(url: str, shown: str):
    assert urls.redact(url) == shown


@pytest.mark.parametrize(
    ("url", "candidates", "revision"),
    [
        ("hf://datasets/a", [("a", "")], ""),
        ("hf://datasets/a/b", [("a/b", ""), ("a", "b")], ""),
        ("hf://datasets/a/b/c/d", [("a/b", "c/d"), ("a", "b/c/d")], ""),
        ("hf://datasets/a/b c/d".replace(" ", "%20"), [("a", "b c/d")], ""),
        ("hf://datasets/a@v/c/d", [("a", "c/d")], "v"),
        ("hf://datasets/a/b@v/c/d", [("a/b", "c/d")], "v"),
        ("hf://datasets/a/b@refs/pr/7/c", [("a/b", "c")], "refs/pr/7"),
        ("hf://datasets/a/b@refs%2Fx/c@d", [("a/b", "c@d")], "refs/x"),
    ],
)
def test_what_a_hub_url_means(url: str, candidates: list[tuple[str, str]], revision: str):
    assert hub_url.repository(url) == hub_url.Repository(tuple(candidates), revision)


@pytest.mark.parametrize("url", ["https://minio.example:9000", "http://a.example/base"])
def test_a_service_is_named_by_its_url(url: str):
    table.check_service(url)


@pytest.mark.parametrize("url", ["s3://bucket", "https://a/?x", "https://a/#x", "https://u:p@a/"])
def test_what_is_no_service_is_refused(url: str):
    with pytest.raises(ValueError):
        table.check_service(url)
