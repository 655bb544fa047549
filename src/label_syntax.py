"""Check labels, annotations, node selectors and taints, as options have them."""

from __future__ import annotations

import re
import shlex

from problems import quote

# The names of labels and annotations, and the values of labels, in Kubernetes.
LABEL_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
# The metadata by which the charm and Kubernetes know their own Jobs and pods.
RESERVED_LABELS = (
    "aws-efs/",
    "batch.kubernetes.io/",
    "kubernetes.io/",
    "app.kubernetes.io/managed-by",
    "kubectl.kubernetes.io/default-container",
    "job-name",
    "controller-uid",
)
# The most that Kubernetes keeps of an object's annotations is 256 KiB; its own count, too.
LARGEST_ANNOTATIONS = 128 * 1024


def read_labels(value: str) -> dict[str, str]:
    """Return labels such as `team=a example.com/tier=gold`.

    Raises:
        ValueError: They are not valid; the message shows what is.
    """
    pairs = _free_pairs(value)
    for key, text in pairs.items():
        check_value(key, text)
    return pairs


def read_annotations(value: str) -> dict[str, str]:
    """Return annotations such as `a=1 "b=two words"`.

    Raises:
        ValueError: They are not valid; the message shows what is.
    """
    pairs = _free_pairs(value)
    if sum(len(key) + len(text.encode()) for key, text in pairs.items()) > LARGEST_ANNOTATIONS:
        raise ValueError(f"is too large: at most {LARGEST_ANNOTATIONS} bytes")
    return pairs


def read_node_selector(value: str) -> dict[str, str]:
    """Return the labels of nodes, such as `pool=loaders`.

    Raises:
        ValueError: They are not valid; the message shows what is.
    """
    pairs = _pairs(value)
    for key, text in pairs.items():
        check_value(key, text)
        if key in ("kubernetes.io/os", "beta.kubernetes.io/os"):
            raise ValueError(f"{quote(key)} is always linux: leave it out")
    return pairs


def read_tolerations(value: str) -> tuple[dict[str, str], ...]:
    """Return tolerations of taints as kubectl writes them: key, key:effect, key=value:effect.

    Raises:
        ValueError: They are not valid; the message shows what is.
    """
    tolerations: list[dict[str, str]] = []
    for taint in value.split():
        named, colon, effect = taint.partition(":")
        key, equals, text = named.partition("=")
        if not key or (colon and effect not in TAINT_EFFECTS):
            raise ValueError(
                f"{quote(taint)}: use key=value:effect with {', '.join(TAINT_EFFECTS)}"
            )
        check_key(key)
        check_value(key, text)
        toleration = {"key": key, "operator": "Equal" if equals else "Exists"}
        toleration |= {"value": text} if text else {}
        tolerations.append(toleration | ({"effect": effect} if effect else {}))
    return tuple(tolerations)


def words(value: str) -> list[str]:
    """Return the words of a value, in which quotes keep blanks as in a shell.

    Raises:
        ValueError: A quotation mark is not closed.
    """
    try:
        return shlex.split(value)
    except ValueError:
        raise ValueError(f"{quote(value)}: a quotation mark is not closed") from None


def _free_pairs(value: str) -> dict[str, str]:
    pairs = _pairs(value)
    for key in pairs:
        if key.startswith(RESERVED_LABELS):
            raise ValueError(f"{quote(key)} is reserved: choose another key")
    return pairs


def _pairs(value: str) -> dict[str, str]:
    """Return the pairs of a value such as `a=1 "b=two words"`."""
    pairs: dict[str, str] = {}
    for word in words(value):
        key, equals, text = word.partition("=")
        if not equals:
            raise ValueError(f"{quote(word)}: use key=value separated by spaces")
        check_key(key)
        if key in pairs:
            raise ValueError(f"{quote(key)} is set twice: set each key once")
        pairs[key] = text
    return pairs


def check_key(key: str) -> None:
    """Refuse what is no key of a label.

    Args:
        key: The key.

    Raises:
        ValueError: It is none; the message shows what is.
    """
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > 253 or not PREFIX.fullmatch(prefix)):
        raise ValueError(f"{quote(key)}: before the / use a domain name in lower case")
    if not LABEL_NAME.fullmatch(name):
        raise ValueError(f"{quote(key)}: use a name as in example.com/team, up to 63 after /")


def check_value(key: str, value: str) -> None:
    """Refuse what is no value of a label.

    Args:
        key: The label's key, which the message names.
        value: The value.

    Raises:
        ValueError: It is none; the message shows what is.
    """
    if value and not LABEL_NAME.fullmatch(value):
        raise ValueError(
            f"{quote(f'{key}={value}')}: use up to 63 letters, digits and - _ . in it"
        )
