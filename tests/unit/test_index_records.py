"""Records of the index: whatever stands in the cluster is a record of ours or an error."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from app.datasets import index

WHOLE = index.DatasetRecord(
    "flowers",
    index.PUBLISHED,
    source="https://a.example/flowers.tar",
    fingerprint="f" * 64,
    request="20260102t030405-aabbccdd",
    created=1767323045,
    parallelism=3,
    answered="20260102t030405-aabbccdd",
    version="20260102t030405-aabbccdd",
    published=1767323099.5,
    files=10**9,
    bytes=10**15,
    seconds=54.2,
    checksum="sha256:0",
    verified=0,
    file_system="fs-0a1b2c3d4e5f60718",
)
FIELDS = json.loads(index.write_record(WHOLE))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def test_a_record_is_read_as_it_was_written():
    assert index.read_record("flowers", index.write_record(WHOLE)) == WHOLE
    assert index.read_record("x", "{}") == index.DatasetRecord("x")


def test_fields_of_a_later_version_are_ignored():
    content = json.dumps({**FIELDS, "colour": "red"})
    assert index.read_record("flowers", content) == WHOLE


def test_a_record_cannot_name_another_data_set():
    assert index.read_record("flowers", json.dumps({**FIELDS, "name": "../x"})) == WHOLE


@pytest.mark.parametrize("name", ["", "../x", "UPPER", "a.b", "-", "x" * 51, "a/b"])
def test_a_name_that_no_data_set_can_have_is_refused(name: str):
    with pytest.raises(index.MalformedError, match="has a name that no data set can have"):
        index.read_record(name, index.write_record(WHOLE))


@pytest.mark.parametrize("content", ["", "nul", "[" * 100_000, '{"a":' * 50_000, "{'a': 1}"])
def test_what_is_no_json_is_refused(content: str):
    with pytest.raises(index.MalformedError, match="is not JSON"):
        index.read_record("flowers", content)


@pytest.mark.parametrize("content", ["[]", "null", "1", '"text"'])
def test_what_is_no_object_is_refused(content: str):
    with pytest.raises(index.MalformedError, match="is not a JSON object"):
        index.read_record("flowers", content)


def test_what_is_too_large_is_refused():
    with pytest.raises(index.MalformedError, match="is larger than 262144 bytes"):
        index.read_record("flowers", json.dumps({**FIELDS, "error": "x" * index.MOST_BYTES}))


BAD: list[tuple[str, Any]] = [
    *(("state", value) for value in ("", "done", None, 1)),
    *(("source", value) for value in (None, 1, ["x"], {})),
    *(("created", value) for value in (-1, 1e30, "1", None, True, [])),
    *(("published", value) for value in (-0.1, 253_402_300_800)),
    *(("parallelism", value) for value in (0, 65, 1.5, "1")),
    *(("files", value) for value in (-1, 1.5, "1", 2**63, True)),
    *(("bytes", value) for value in (-1, 2**63, [])),
    *(("seconds", value) for value in (-1, "1")),
    *(("error", value) for value in (None, 7, {"a": 1})),
    *(("version", value) for value in (None, 1)),
    *(("file_system", value) for value in (None, 1, [])),
]


@pytest.mark.parametrize(("field", "value"), BAD)
def test_a_field_of_another_kind_or_range_is_refused_by_its_name(field: str, value: Any):
    with pytest.raises(index.MalformedError, match=f"is malformed: {field}"):
        index.read_record("flowers", json.dumps({**FIELDS, field: value}))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_none_is_refused(number: str):
    content = json.dumps({**FIELDS, "created": 0}).replace('"created": 0', f'"created": {number}')
    with pytest.raises(index.MalformedError, match="is malformed: created"):
        index.read_record("flowers", content)


@hypothesis.given(st.text(), JSON | st.dictionaries(st.sampled_from(sorted(FIELDS)), JSON))
def test_nothing_raises_another_error(name: str, value: Any):
    for content in (json.dumps(value), str(value)):
        for each in (name, "flowers"):
            record = read_or_refuse(each, content)
            if record:
                assert index.read_record(each, index.write_record(record)) == record


def read_or_refuse(name: str, content: str) -> index.DatasetRecord | None:
    try:
        return index.read_record(name, content)
    except index.MalformedError as error:
        assert str(error)
        return None


def test_what_a_pod_reported_is_valid_only_if_it_can_be_read_again():
    assert index.is_valid(WHOLE)
    broken: dict[str, Any] = {"files": "3", "bytes": -1, "seconds": None, "version": 7}
    for field, value in broken.items():
        assert not index.is_valid(dataclasses.replace(WHOLE, **{field: value})), field
