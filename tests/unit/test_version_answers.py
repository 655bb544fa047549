"""Read what the loader's pods tell of the versions of a data set."""

from __future__ import annotations

import json
from typing import Any

import pytest

from datasets import version_answers

LINE: dict[str, Any] = {
    "state": "listed",
    "version": "w",
    "dataset": "published",
    "published": 1.5,
    "files": 2,
    "bytes": 3,
    "source": "s3://a/b",
    "verified": 4,
    "differences": 5,
}
END = {"state": "inventoried", "count": 1}


def read(*lines: dict[str, Any]) -> list[version_answers.VersionEntry] | None:
    return version_answers.read_versions("\n".join(json.dumps(line) for line in lines))


def test_versions_are_read_if_the_list_is_complete():
    whole = version_answers.VersionEntry(
        "w",
        is_published=True,
        published=1.5,
        files=2,
        bytes=3,
        source="s3://a/b",
        verified=4,
        differences=5,
    )
    assert read(LINE, END) == [whole]
    assert read({**LINE, "dataset": "kept"}, END) != [whole]
    assert read(LINE) is None
    assert read(END) is None
    assert read({**LINE, "version": 1}, END) is None
    assert read() is None


@pytest.mark.parametrize("field", sorted({*LINE} - {"state", "version"}))
@pytest.mark.parametrize(
    "value", [None, True, -1, 1e300, 10**400, float("nan"), "x", "1", [], {}, [{}], 2**63]
)
def test_whatever_a_field_has_it_is_of_its_kind(field: str, value: object):
    (entry,) = read({**LINE, field: value}, END) or []
    assert type(entry.is_published) is bool
    assert type(entry.source) is str
    for count in (entry.files, entry.bytes, entry.differences):
        assert count is None or (type(count) is int and count >= 0)
    for time in (entry.published, entry.verified):
        assert 0 <= time <= version_answers.LAST_SECOND
