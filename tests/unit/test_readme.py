from __future__ import annotations

import json
import pathlib
import re

import yaml

from aws import permissions

ROOT = pathlib.Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_policy_in_the_readme_allows_exactly_what_the_charm_calls() -> None:
    (policy,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    (statement,) = json.loads(policy)["Statement"]
    assert statement["Action"] == list(permissions.IAM_ACTIONS)


def test_the_readme_lists_every_option_and_every_action() -> None:
    for option in yaml.safe_load((ROOT / "config.yaml").read_text())["options"]:
        assert f"\n| `{option}` |" in README
    for name, action in yaml.safe_load((ROOT / "actions.yaml").read_text()).items():
        (row,) = re.findall(rf"\n\| `{name}` \|(.*)", README)
        for parameter in action.get("params", {}):
            assert f"`{parameter}`" in row
