"""What Charmhub shows of the charm: title, links, icon, and where to report."""

from __future__ import annotations

import pathlib
import re
from urllib import parse
from xml.etree import ElementTree

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
METADATA = yaml.safe_load((ROOT / "metadata.yaml").read_text())
# The fields of metadata.yaml that charmcraft takes as links.
LINKS = ("website", "source", "issues", "docs")
# Domains that belong to nobody (RFC 2606): nothing sent to them arrives.
NOBODY = re.compile(r"(?:^|\.)(?:example|invalid|test|localhost|example\.(?:com|net|org))$")


def test_the_charm_has_a_title_of_its_own() -> None:
    assert METADATA["display-name"]
    assert METADATA["display-name"] != METADATA["name"]


def test_no_key_is_in_both_metadata_and_charmcraft() -> None:
    charmcraft = yaml.safe_load((ROOT / "charmcraft.yaml").read_text())
    assert not set(METADATA) & set(charmcraft), "charmcraft refuses a key that is in both"


@pytest.mark.parametrize("field", LINKS)
def test_a_link_is_a_url_that_belongs_to_somebody(field: str) -> None:
    links = METADATA.get(field, [])
    for link in [links] if isinstance(links, str) else links:
        url = parse.urlsplit(link)
        assert url.scheme == "https", link
        assert not NOBODY.search(url.hostname or "example"), link


def test_no_maintainer_has_an_address_that_belongs_to_nobody() -> None:
    for each in METADATA["maintainers"]:
        address = re.search(r"@([^>\s]+)", each)
        assert not (address and NOBODY.search(address[1])), each


def test_the_icon_is_a_square_of_100_pixels_that_loads_nothing() -> None:
    text = (ROOT / "icon.svg").read_text()
    icon = ElementTree.fromstring(text)  # our own file
    assert (icon.get("width"), icon.get("height")) == ("100", "100")
    assert icon.get("viewBox") == "0 0 100 100"
    assert not re.search(r"<script|<image|href=|url\((?!#)", text)


def test_the_readme_says_where_to_report_a_vulnerability() -> None:
    assert "(SECURITY.md)" in (ROOT / "README.md").read_text()
