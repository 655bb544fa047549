"""Which keys a secret must have for the sources of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

import action_params
import problems
from app.datasets import actions

WEB, S3, HUB = "https://a.example/x", "s3://bucket/key", "hf://org/name"
KEYS = {"access-key": "a", "secret-key": "b"}


def read(source: str, content: Mapping[str, str]) -> Mapping[str, str]:
    params = action_params.CreateDatasetParams(
        name="x",
        source=cast("Any", source),
        credentials="secret:abc",
    )
    context = actions.ActionContext(
        cast("Any", None), "fs-1", cast("Any", None), {}, lambda *_, **__: content
    )
    return actions._credentials(context, params)


@pytest.mark.parametrize(
    ("source", "content"),
    [
        (WEB, {"token": "t"}),
        (WEB, {"header": "X-Key: k"}),
        (S3, KEYS),
        (HUB, {"token": "t"}),
        (f"{WEB} {S3}", KEYS),
        (f"{WEB} {HUB}", {"token": "t"}),
    ],
)
def test_a_secret_with_the_keys_of_its_sources_is_used(source: str, content: Mapping[str, str]):
    assert read(source, {**content, "unrelated": "x"}) == content


@pytest.mark.parametrize(
    ("source", "content", "sentence"),
    [
        (WEB, {}, "the secret has no token or header"),
        (WEB, KEYS, "the secret has no token or header"),
        (S3, {"token": "t"}, "the secret has no access-key"),
        (f"{WEB} {HUB}", {"header": "X-Key: k"}, "the secret has no token"),
        (WEB, {"header": "k"}, "the secret's header is not `Name: value`"),
        (WEB, {"header": "Host: k"}, "the secret's header is Host, which the loader itself"),
    ],
)
def test_a_secret_that_lacks_them_is_refused(
    source: str, content: Mapping[str, str], sentence: str
):
    with pytest.raises(problems.Blocked) as refused:
        read(source, content)
    assert sentence in refused.value.message
