"""The names of objects, from what their origins and their URLs say."""

from __future__ import annotations

import pytest

from datasets.loader.base import file_names

HEX = "9f86d081884c7d659a2feaa0c55ad015"
SIGNATURE = "Zk3uX0b9QyV1m-7Lr_2TgHd8sPwNcE4aJfKiO6"
JWT = f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkw.{SIGNATURE}"


@pytest.mark.parametrize(
    ("attachment", "final", "first", "name"),
    [
        ("a.zip", "b.zip", "c.zip", "a.zip"),
        ("a", "b.zip", "c.zip", "a"),
        ("", "b.zip", "c.zip", "b.zip"),
        ("", "b", "c.zip", "c.zip"),
        ("", "b", "download.php", "b"),
        ("", "b", "c", "b"),
        ("", "", "c", "c"),
        ("", HEX, "c", "c"),
        ("", SIGNATURE, "c", "c"),
        ("", JWT, "c", "c"),
        ("", f"{HEX}.zip", "c", f"{HEX}.zip"),
        (
            "",
            "imagenet-object-detection-challenge-2012",
            "v1",
            "imagenet-object-detection-challenge-2012",
        ),
        ("", SIGNATURE, "", SIGNATURE),
        ("", f"{HEX * 8}.bin", "c.zip", "c.zip"),
        ("", "é" * 128, "c", "c"),
        ("é" * 130, "b.zip", "c.zip", "b.zip"),
    ],
)
def test_the_name_of_an_object(attachment: str, final: str, first: str, name: str):
    assert file_names.best(attachment, final, first) == name
