from __future__ import annotations

import ast
import dataclasses
import pathlib
import subprocess
import sys
import time
from typing import Any

import pytest

from datasets import dataset, loader, loader_program, parameter_values, protocol, request_ids
from datasets.loader.base import tasks

LOADER = pathlib.Path(loader.__file__).parent
SHIPPED = [*sorted(LOADER.rglob("*.py")), pathlib.Path(protocol.__file__)]
DIGEST = "0" * 64
KEY, OTHER_KEY = "5e" * 32, "77" * 32


@pytest.mark.parametrize("name", ["x", "imagenet-1k", "0", "a" * 50])
def test_a_name_of_letters_digits_and_dashes_is_accepted(name: str):
    assert parameter_values.validate_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "/a", "-a", "a-", ".a", "A", "a b", "a\n", "é", "a" * 51, "x" * 300],
)
def test_any_other_name_is_refused(name: str):
    with pytest.raises(ValueError, match="use 1 to 50 lower-case letters") as refused:
        parameter_values.validate_name(name)
    assert len(str(refused.value)) < 130


@pytest.mark.parametrize(
    "source",
    [
        "https://a.example/x.tar",
        "http://[::1]:8080/x",
        "https://a.example/?token=1",
        "HTTPS://A/x",
        "s3://bucket/a/b",
        "hf://datasets/org/name@main/data",
    ],
)
def test_a_source_that_can_be_read_is_accepted(source: str):
    assert parameter_values.validate_source(source) == source


@pytest.mark.parametrize(
    "source",
    [
        "",
        "x.tar",
        "file:///etc/passwd",
        "ftp://a.example/x",
        "https://",
        "https:///x",
        "https://a.example:port/x",
        "https://a.example/a b",
        "https://a.example/\n",
        "https://a.example/é",
        "https://a..example/x",
        "https://[/x",
        "//a.example/x",
        "s3://b",
        "s3://bucket/x?versionId=1",
        "hf://models/a/b",
    ],
)
def test_a_source_that_is_not_a_readable_url_is_refused(source: str):
    with pytest.raises(ValueError, match=r"use [sh]\w+://|write them as %20|write \? and #"):
        parameter_values.validate_source(source)


@pytest.mark.parametrize(
    "source",
    [
        "https://me:hunter2@a.example/x",
        "https://hunter2@a.example/x",
        "ftp://me:hunter2@a.example/x",
        "https://me:hunter2@a.example:port/x",
        "//me:hunter2@a.example/x",
        "https://me:hunter2 @a.example/x",
    ],
)
def test_credentials_in_a_source_are_refused_and_not_repeated(source: str):
    with pytest.raises(ValueError, match=r"credentials|URL|blanks") as refused:
        parameter_values.validate_source(source)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_checksum_is_accepted_in_either_case():
    assert parameter_values.validate_checksum("SHA256:" + "AB" * 32) == "sha256:" + "ab" * 32
    assert parameter_values.validate_checksum("md5:" + "0" * 32) == "md5:" + "0" * 32
    assert parameter_values.validate_checksum("sha512:" + "0" * 128) == "sha512:" + "0" * 128


@pytest.mark.parametrize(
    "checksum", ["", DIGEST, f"sha1:{DIGEST}", "sha256:", f"md5:{DIGEST}", "sha256:" + "g" * 64]
)
def test_an_invalid_checksum_is_refused(checksum: str):
    with pytest.raises(ValueError, match="hex digits"):
        parameter_values.validate_checksum(checksum)


def test_parameters_that_change_the_data_change_the_fingerprint():
    base = dataset.Dataset("x", ("https://a.example/f?id=1",), digest_key=KEY)
    others: list[dict[str, Any]] = [
        {"digest_key": OTHER_KEY},
        {"name": "y"},
        {"sources": ("https://a.example/f?id=2",)},
        {"sources": ("https://a.example/f?id=1", "https://a.example/f?id=2")},
        {"source_list": "https://a.example/list"},
        {"checksum": "sha256:" + DIGEST},
        {"unpack": "false"},
        {"base": "https://a.example/"},
        {"strip_components": 1},
        {"endpoint": "https://minio.example"},
        {"owner": "1:1"},
        {"mode": "0640"},
        {"image": "i"},
        {"command": ("c",)},
        {"env": {"A": "1"}},
        {"include": ("*.csv",)},
        {"exclude": ("*.csv",)},
    ]
    prints = {dataclasses.replace(base, **other).fingerprint() for other in others}
    assert len(prints | {base.fingerprint()}) == len(others) + 1
    fields = {field.name for field in dataclasses.fields(dataset.Dataset)}
    assert fields - {key for other in others for key in other} == {
        "cluster_networks",
        "deadline_seconds",
        "max_bytes",
        "connections",
        "requester_pays",
        "overwrite",
        "parallelism",
        "region",
    }


def test_a_link_signed_again_more_pods_and_overwrite_leave_the_fingerprint_as_it_is():
    base = dataset.Dataset(
        "x", ("https://a.example/f?id=1",), source_list="https://a.example/l", digest_key=KEY
    )
    query = "X-Amz-Signature=1&Expires=2&sig=3&se=4"
    others: list[dict[str, Any]] = [
        {"sources": (f"https://a.example/f?id=1&{query}",)},
        {"source_list": f"https://a.example/l?{query}"},
        {"overwrite": True},
        {"parallelism": 5},
        {"region": "us-east-1"},
    ]
    for other in others:
        assert dataclasses.replace(base, **other).fingerprint() == base.fingerprint(), other


@pytest.mark.parametrize(
    "secret",
    [
        {"sources": ("https://a.example/f?id=1",)},
        {"sources": ("https://a.example/f", "https://a.example/g?x")},
        {"sources": ("https://a.example/f?apikey=hunter2&sig=1",)},
        {"sources": ("https://a.example/f#hunter2",)},
        {"source_list": "https://a.example/l?id=1"},
        {"image": "i", "command": ("load", "--key", "hunter2")},
        {"image": "i", "env": {"KEY": "hunter2"}},
    ],
)
def test_a_fingerprint_of_what_may_be_secret_cannot_be_made_without_the_key(
    secret: dict[str, Any],
):
    one = dataset.Dataset("x", **secret)
    assert one.needs_digest_key
    with pytest.raises(ValueError, match="needs a key"):
        one.fingerprint()
    prints = [
        dataclasses.replace(one, digest_key=key).fingerprint() for key in (KEY, KEY, OTHER_KEY)
    ]
    assert prints[0] == prints[1] != prints[2]
    assert KEY not in repr(dataclasses.replace(one, digest_key=KEY))


@pytest.mark.parametrize(
    "plain",
    [
        {"sources": ("https://a.example/f", "s3://bucket/prefix/")},
        {"sources": ("https://a.example/f?X-Amz-Signature=1&X-Amz-Date=2",)},
        {"sources": ("https://a.example/f?sv=1&sig=2", "hf://datasets/org/name")},
        {"source_list": "https://a.example/l?Signature=1&Key-Pair-Id=2&Expires=3"},
        {"image": "i"},
    ],
)
def test_a_fingerprint_of_what_is_shown_anyway_is_the_same_in_each_application(
    plain: dict[str, Any],
):
    prints = {
        dataset.Dataset("x", **plain, digest_key=key).fingerprint() for key in ("", KEY, OTHER_KEY)
    }
    assert len(prints) == 1


def test_only_the_task_of_a_source_list_has_the_key():
    with_list = dataset.Dataset("x", source_list="https://a.example/l", digest_key=KEY)
    assert with_list.needs_digest_key
    assert with_list.task(request="v").digest_key == KEY
    assert KEY not in repr(with_list.task(request="v"))
    for other in (
        dataset.Dataset("x", ("https://a.example/f?id=1",), digest_key=KEY),
        dataset.Dataset("x", image="i", command=("c",), digest_key=KEY),
    ):
        assert KEY not in other.task(request="v").to_json()


def test_what_is_shown_of_a_source_has_no_query():
    one = dataset.Dataset("x", ("https://a.example/f.tar?sig=hunter2",))
    assert one.shown_source == "https://a.example/f.tar?..."
    urls = tuple(f"https://a.example/{number}?sig=hunter2" for number in range(5))
    many = dataset.Dataset("x", urls, source_list="https://a.example/l?sig=hunter2")
    assert many.shown_source.endswith("/2?... and 3 more")
    assert "hunter2" not in many.shown_source


def test_the_task_is_one_that_the_loader_reads():
    example = dataset.Dataset(
        "x",
        ("s3://bucket/a",),
        endpoint="https://minio.example",
        region="garage",
        checksum="sha256:" + DIGEST,
        unpack="recursive",
        owner="1000:100",
        mode="0640",
        parallelism=4,
    )
    credentials = {"access-key": "a", "secret-key": "b"}
    task = example.task(request="v", root="/r", credentials=credentials)
    assert tasks.Task.from_json(task.to_json()) == task
    assert task.sources == (tasks.Source("s3://bucket/a", checksum="sha256:" + DIGEST),)
    assert (task.endpoint, task.hub, task.indexes) == ("https://minio.example", "", 4)
    assert task.region == "garage"
    assert (task.owner_ids, task.file_mode, task.directory_mode) == ((1000, 100), 0o640, 0o750)
    hub = dataset.Dataset("x", ("hf://datasets/a/b",), endpoint="https://hub.example")
    assert (hub.task(request="v").endpoint, hub.task(request="v").hub) == (
        "",
        "https://hub.example",
    )


@pytest.mark.parametrize(
    ("owner", "taken"), [("0", "0:0"), ("1000", "1000:1000"), ("1:2", "1:2"), (str(2**31), None)]
)
def test_an_owner_is_a_number_or_two(owner: str, taken: str | None):
    assert parameter_values.validate_owner(owner) == (taken or f"{owner}:{owner}")


@pytest.mark.parametrize("owner", ["", "root", "-1", "1:", ":1", "1:2:3", str(2**31 + 1), "1.5"])
def test_an_invalid_owner_is_refused(owner: str):
    with pytest.raises(ValueError, match="use uid or uid:gid"):
        parameter_values.validate_owner(owner)


@pytest.mark.parametrize("mode", ["644", "0640", "600", "444", "666", "664"])
def test_a_mode_that_data_can_have_is_accepted(mode: str):
    assert parameter_values.validate_mode(mode) == mode.zfill(4)


# YAML reads 0644 as 420.
@pytest.mark.parametrize("mode", ["", "420", "755", "044", "244", "464", "9", "1644", "rw", "6"])
def test_a_mode_that_data_cannot_have_is_refused(mode: str):
    with pytest.raises(ValueError, match="three octal digits"):
        parameter_values.validate_mode(mode)


def test_a_version_contains_the_time_of_its_request():
    assert abs(request_ids.time_of(request_ids.new()) - time.time()) < 5
    assert request_ids.time_of(request_ids.new() + "-2") > 0
    assert request_ids.time_of("v1") == 0


def test_the_loader_is_one_program_whose_bytes_depend_on_its_code_alone(tmp_path: pathlib.Path):
    first = loader_program.zipapp()
    loader_program.zipapp.cache_clear()
    assert loader_program.zipapp() == first
    # It is shipped in a ConfigMap, which holds at most 1 MiB.
    assert len(first) < 700_000
    code = tmp_path / "loader.pyz"
    code.write_bytes(first)
    message = tmp_path / "message"
    ended = subprocess.run(
        [sys.executable, "-I", code],
        env={"TERMINATION_LOG": str(message)},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    assert ended.returncode == 1
    assert "the loader does not understand its task" in message.read_text()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_loader_needs_nothing_but_an_old_python(path: pathlib.Path):
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    imported = {
        (node.module or "").partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and not node.level
    } | {
        alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    # Modules that only newer Pythons have are imported if they exist.
    assert imported <= sys.stdlib_module_names | {"compression"}


@pytest.mark.parametrize(
    ("size", "count"),
    [
        ("1", 1),
        ("500G", 500 * 10**9),
        ("2TiB", 2 * 2**40),
        ("3k", 3000),
        ("4Ki", 4096),
        ("1PB", 10**15),
    ],
)
def test_a_size_may_have_a_unit(size: str, count: int):
    assert parameter_values.size_bytes(parameter_values.validate_size(size)) == count


def test_without_a_size_or_a_deadline_the_defaults_hold():
    assert parameter_values.size_bytes("") == 16 * 2**40
    assert parameter_values.duration_seconds("") == 7 * 86400


@pytest.mark.parametrize(
    ("duration", "seconds"), [("3", 3 * 86400), ("12h", 12 * 3600), ("90m", 5400), ("2d", 172_800)]
)
def test_a_deadline_is_in_days_or_has_a_unit(duration: str, seconds: int):
    assert (
        parameter_values.duration_seconds(parameter_values.validate_duration(duration)) == seconds
    )


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "G", "5 G", "5X", "9" * 30, "1s", "0h"])
def test_a_size_or_a_deadline_that_makes_no_sense_is_refused(text: str):
    with pytest.raises(ValueError, match="use a number of"):
        parameter_values.validate_size(text)
    with pytest.raises(ValueError, match="use a number of"):
        parameter_values.validate_duration(text)


def test_a_deadline_is_a_year_at_most():
    with pytest.raises(ValueError, match="use 366 days at most"):
        parameter_values.validate_duration("367")


def test_the_task_has_the_largest_size():
    task = dataset.Dataset("x", ("https://a.example/f",), max_bytes=5).task(request="v")
    assert task.limits.most_bytes == 5
