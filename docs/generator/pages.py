"""Render the generated reference pages: options, actions, IAM policy, statuses."""

from __future__ import annotations

import functools
import json
import pathlib
from collections.abc import Callable
from typing import Any

import yaml

from aws import ownership, permissions
from docs.generator import messages

ROOT = pathlib.Path(__file__).parents[2]
NOTES = pathlib.Path(__file__).with_name("status_notes.yaml")

# The section of a module's messages on the page of statuses; the first matching prefix counts.
_GROUPS = (
    ("config", "Options, relations and credentials"),
    ("relations/", "Options, relations and credentials"),
    ("charm", "The application"),
    ("app/teardown", "Teardown"),
    ("aws/teardown", "Teardown"),
    ("aws/obstacles", "Teardown"),
    ("aws/inventory", "Teardown"),
    ("cluster/volumes/volume_removal", "Teardown"),
    ("app/datasets/", "Data set actions"),
    ("app/", "The application"),
    ("aws/", "AWS"),
    ("cluster/probe", "The probe"),
    ("cluster/pod", "Pods that do not start (part of other messages)"),
    ("cluster/jobs", "Jobs"),
    ("cluster/", "Kubernetes and the claims"),
    ("", "Others"),
)
_ORDER = (
    "The application",
    "Options, relations and credentials",
    "AWS",
    "Kubernetes and the claims",
    "The probe",
    "Pods that do not start (part of other messages)",
    "Jobs",
    "Data set actions",
    "Teardown",
    "Others",
)


def options() -> str:
    """Return the page of options, from config.yaml."""
    declared: dict[str, Any] = yaml.safe_load((ROOT / "config.yaml").read_text())["options"]
    lines = [
        _generated_from("config.yaml"),
        "# Options",
        "",
        "`juju config aws-efs` shows all options and their values; `juju config aws-efs"
        " capacity=500Gi` sets one.",
        "",
        "| option | type | default |",
        "|---|---|---|",
    ]
    for name, option in declared.items():
        lines.append(f"| [`{name}`](#{name}) | {option['type']} | {_value(option['default'])} |")
    for name, option in declared.items():
        lines += ["", f"## {name}", "", _prose(option["description"].strip())]
    return "\n".join(lines) + "\n"


def actions() -> str:
    """Return the page of actions, from actions.yaml."""
    declared: dict[str, Any] = yaml.safe_load((ROOT / "actions.yaml").read_text())
    lines = [
        _generated_from("actions.yaml"),
        "# Actions",
        "",
        "With Juju 3.x an action runs as `juju run aws-efs/leader ACTION key=value ...`, with Juju"
        " 2.9 as `juju run-action aws-efs/leader --wait ACTION key=value ...`. The results of data"
        " set actions are listed in [data sets](data-sets.md#results-of-the-actions).",
        "",
        "Juju reads values as YAML 1.1: to it `2024` and `0640` are numbers, `no` is false, ` #`"
        " begins a comment, and line ends in a value are blanks. Values that may have been"
        " changed so are refused with the way to write them. With `--string-args` all values are"
        " passed on as they are, also a `command` of several lines; without it, one line is that"
        " is quoted twice, as in `name='\"2024\"'`.",
        "",
    ]
    for name, action in declared.items():
        summary = " ".join(action["description"].split()).partition(". ")[0].rstrip(".")
        lines.append(f"- [`{name}`](#{name}): {_prose(summary[0].lower() + summary[1:])}")
    for name, action in declared.items():
        lines += ["", f"## {name}", "", _prose(action["description"].strip())]
        if parameters := action.get("params"):
            lines += ["", "| parameter | type | default | |", "|---|---|---|---|"]
        else:
            lines += ["", "No parameters."]
            continue
        for key, parameter in parameters.items():
            required = key in action.get("required", [])
            default = "required" if required else _value(parameter.get("default", ""))
            text = " ".join(parameter["description"].split())
            lines.append(f"| `{key}` | {_type(parameter)} | {default} | {_cell(_prose(text))} |")
    return "\n".join(lines) + "\n"


def iam_policy() -> str:
    """Return the IAM policy that the charm's AWS credentials need, as JSON."""
    return json.dumps(permissions.policy(), indent=2) + "\n"


def iam_policy_page() -> str:
    """Return the page of the IAM policy."""
    on_behalf = ", ".join(f"`{action}`" for action in permissions.ON_BEHALF_ACTIONS)
    return "\n".join(
        [
            _generated_from("src/aws/permissions.py"),
            "# IAM policy",
            "",
            "The charm's [AWS credentials](../how-to/give-credentials.md) need these"
            " permissions. The policy is also a"
            " [file](iam-policy.json):",
            "",
            "    aws iam create-policy --policy-name aws-efs --policy-document"
            " file://iam-policy.json",
            "",
            "```json",
            iam_policy().rstrip(),
            "```",
            "",
            "What it limits:",
            "",
            "- The charm can look at all file systems and networks, but change and delete only"
            f" file systems and security groups with its tag `{ownership.MODEL_TAG}`, and set that"
            " tag only on what it creates. For one model only, replace the `*` of that tag by the"
            " model's uuid (`juju show-model`).",
            "- It can create mount targets of a file system that it did not create, if the owner"
            f" of the file system has set the tag `{permissions.ADOPTABLE_TAG}` on it: see"
            " [adopt a file system](../how-to/adopt.md).",
            f"- The charm itself does not call these: {on_behalf}. EFS calls them on its behalf,"
            " and the policy allows them through AWS services only: EFS uses [forward access"
            " sessions](https://docs.aws.amazon.com/efs/latest/ug/"
            "security_iam_service-with-iam.html), whose requests [carry `aws:ViaAWSService`]"
            "(https://docs.aws.amazon.com/IAM/latest/UserGuide/access_forward_access_sessions.html)."
            " AWS's documentation says so; it was not tried on AWS itself. A mount target is a"
            " network interface in your subnet; the first file system of an account needs"
            " `iam:CreateServiceLinkedRole`; a [`kms-key`](options.md#kms-key) of your own needs"
            " the `kms:` actions, and a key policy that lets these credentials describe it and"
            " create grants.",
            "",
            "The sandbox enforces this policy in every test. The condition keys are those of AWS's"
            " [service authorization"
            " reference](https://docs.aws.amazon.com/service-authorization/latest/reference/)."
            " Which permission AWS denies is in `juju status`.",
            "",
        ]
    )


def stale_notes() -> list[str]:
    """Return the notes on statuses that match no message in the code."""
    return [each for each in _notes() if not any(each in message.text for message in _messages())]


def explained() -> list[tuple[messages.Message, str]]:
    """Return each message in the code with its note, "" where it has none."""
    notes = _notes()
    return [(each, _note(each, notes)) for each in _messages()]


@functools.cache
def _messages() -> list[messages.Message]:
    return messages.collect(ROOT / "src")


def _note(message: messages.Message, notes: dict[str, str]) -> str:
    return " ".join(text for key, text in notes.items() if key in message.text)


def _notes() -> dict[str, str]:
    return yaml.safe_load(NOTES.read_text())


def statuses() -> str:
    """Return the page of all messages that a status or a failed action can show."""
    collected = explained()
    lines = [
        _generated_from("the code and docs/generator/status_notes.yaml"),
        "# Statuses and messages",
        "",
        "A message states a fact, then what to do. `juju status` shows the most urgent one, cut"
        " to 120 characters; `juju debug-log` has the full text. A failed action has such a"
        " message too. `<...>` and `…` stand for values.",
        "",
        "**active**: everything works. **waiting**: it may resolve itself, or another charm or API"
        " has to answer; the charm tries again at the next event, at the latest at the next"
        " update-status. **blocked**: you have to act.",
    ]
    for title in _ORDER:
        rows = [each for each in collected if _group(each[0]) == title]
        if rows:
            lines += ["", f"## {title}", "", "| status | message | |", "|---|---|---|"]
        for row in dict.fromkeys((message.status, message.text, note) for message, note in rows):
            lines.append(f"| {row[0]} | `{_cell(row[1].strip())}` | {_cell(row[2])} |")
    return "\n".join(lines) + "\n"


def _group(message: messages.Message) -> str:
    return next(title for prefix, title in _GROUPS if message.module.startswith(prefix))


def _generated_from(source: str) -> str:
    return f"<!-- Generated by `make docs` from {source}: edit that, not this page. -->\n"


def _type(parameter: dict[str, Any]) -> str:
    # The others are declared only so that the charm can say how to write a value.
    text: str = parameter["type"][0]
    if "minimum" in parameter:
        text += f", {parameter['minimum']} to {parameter['maximum']}"
    if "enum" in parameter:
        text = ", ".join(f"`{each}`" for each in dict.fromkeys(map(_plain, parameter["enum"])))
    return text


def _value(value: object) -> str:
    return f"`{_plain(value)}`" if value != "" else ""


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _prose(text: str) -> str:
    """Escape `<` outside of code, so that Markdown does not take `<name>` for a tag."""
    parts = text.split("`")
    return "`".join(p if number % 2 else p.replace("<", "&lt;") for number, p in enumerate(parts))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


# What renders each generated page, by the path of the page in the repository.
GENERATED: dict[str, Callable[[], str]] = {
    "docs/reference/options.md": options,
    "docs/reference/actions.md": actions,
    "docs/reference/iam-policy.json": iam_policy,
    "docs/reference/iam-policy.md": iam_policy_page,
    "docs/reference/statuses.md": statuses,
}
