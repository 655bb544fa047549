from __future__ import annotations

import ast
import dataclasses
import json
import pathlib
import subprocess
import sys

import pytest

from datasets import dataset, loader

LOADER = pathlib.Path(loader.__file__).parent
DIGEST = "0" * 64


@pytest.mark.parametrize("name", ["x", "imagenet-1k", "0", "a" * 50])
def test_a_name_of_letters_digits_and_dashes_is_taken(name: str):
    assert dataset.validate_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "/a", "-a", "a-", ".a", "A", "a b", "a\n", "é", "a" * 51, "x" * 300],
)
def test_a_name_that_could_be_anything_else_is_refused(name: str):
    with pytest.raises(ValueError, match="use 1 to 50 lower-case letters") as refused:
        dataset.validate_name(name)
    assert len(str(refused.value)) < 130


@pytest.mark.parametrize(
    "source",
    [
        "https://a.example/x.tar",
        "http://[::1]:8080/x",
        "https://a.example/?token=1",
        "HTTPS://A/x",
    ],
)
def test_an_http_source_is_taken(source: str):
    assert dataset.validate_source(source) == source


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
    ],
)
def test_a_source_that_is_no_http_url_is_refused(source: str):
    with pytest.raises(ValueError, match=r"use https://host/path|write them as %20"):
        dataset.validate_source(source)


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
        dataset.validate_source(source)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_checksum_is_taken_in_either_case():
    assert dataset.validate_checksum("SHA256:" + "AB" * 32) == "sha256:" + "ab" * 32
    assert dataset.validate_checksum("md5:" + "0" * 32) == "md5:" + "0" * 32
    assert dataset.validate_checksum("sha512:" + "0" * 128) == "sha512:" + "0" * 128


@pytest.mark.parametrize(
    "checksum", ["", DIGEST, f"sha1:{DIGEST}", "sha256:", f"md5:{DIGEST}", "sha256:" + "g" * 64]
)
def test_a_checksum_that_is_none_is_refused(checksum: str):
    with pytest.raises(ValueError, match="hex digits"):
        dataset.validate_checksum(checksum)


def test_what_brings_other_data_has_another_fingerprint():
    base = dataset.Dataset("x", "https://a.example/f?id=1")
    others = [
        {"name": "y"},
        {"source": "https://a.example/f?id=2"},
        {"checksum": "sha256:" + DIGEST},
        {"unpack": False},
        {"image": "i"},
        {"command": ("c",)},
        {"env": {"A": "1"}},
    ]
    prints = {dataclasses.replace(base, **other).fingerprint() for other in others}
    assert len(prints | {base.fingerprint()}) == len(others) + 1


def test_a_link_signed_again_and_overwrite_leave_the_fingerprint_as_it_is():
    base = dataset.Dataset("x", "https://a.example/f?id=1")
    signed = "https://a.example/f?id=1&X-Amz-Signature=1&Expires=2&sig=3&se=4"
    assert dataclasses.replace(base, source=signed).fingerprint() == base.fingerprint()
    assert dataclasses.replace(base, overwrite=True).fingerprint() == base.fingerprint()


def test_what_is_shown_of_a_source_has_no_query():
    shown = dataset.Dataset("x", "https://a.example/f.tar?sig=hunter2").shown_source()
    assert shown == "https://a.example/f.tar?..."


def test_a_result_is_read_from_the_termination_message():
    result = dataset.Result(1, 2, 3.5, "/datasets/x", "v", "sha256:0", 4, "tar")
    message = json.dumps({"state": "published", **dataclasses.asdict(result), "more": 1})
    assert dataset.outcome(message) == result
    assert dataset.outcome('{"state": "failed", "error": "it is so: do that"}') == (
        dataset.Failed("it is so: do that")
    )


@pytest.mark.parametrize(
    "message",
    [
        "",
        "Killed",
        '{"state": "published"}',
        'ytes": 3}\n{"state": "transferring"}',
        "[1]",
        "null",
    ],
)
def test_a_loader_that_was_killed_is_a_failure_with_a_sentence(message: str):
    ended = dataset.outcome(message)
    assert isinstance(ended, dataset.Failed)
    assert "run create-dataset again" in ended.error


def test_the_last_line_of_progress_counts():
    log = '{"state": "preparing"}\n{"state": "transferring", "fetched": 5, "rate": 1}\nnoise\n'
    assert dataset.progress(log) == dataset.Progress("transferring", fetched=5)
    assert dataset.progress("noise") is None


def test_the_loader_is_one_program_whose_bytes_depend_on_its_code_alone(tmp_path: pathlib.Path):
    first = dataset.zipapp()
    dataset.zipapp.cache_clear()
    assert dataset.zipapp() == first
    # It is shipped in a ConfigMap, which takes 1 MiB in base64.
    assert len(first) < 200_000
    program = tmp_path / "loader.pyz"
    program.write_bytes(first)
    message = tmp_path / "message"
    ended = subprocess.run(
        [sys.executable, "-I", program],
        env={"TERMINATION_LOG": str(message)},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    assert ended.returncode == 1
    assert "a task that it does not understand" in message.read_text()


@pytest.mark.parametrize("path", sorted(LOADER.glob("*.py")), ids=lambda path: path.name)
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
    assert imported <= sys.stdlib_module_names
