"""Validate the options of config.yaml; an error names the option and its valid values."""

from __future__ import annotations

import ipaddress
import re
import stat
from collections.abc import Mapping
from typing import Annotated, Any

import pydantic

import identity
import label_syntax
import lifecycle_syntax
import selector_syntax
from problems import quote

UNITS = {"Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}
# Kubernetes stores a quantity in 64 bits.
LARGEST_CAPACITY_BYTES = 2**63 - 1
# EFS allows 50 tags per file system (Tag restrictions in its user guide); the charm needs some.
MOST_TAGS = 40
NO_TEXTS = frozenset({"dynamic", "encrypted", "throughput_mibps"})
# Lists of tags are shorter, and reading a much longer text takes seconds.
LONGEST_VALUE = 32_768
LONGEST_TAG_KEY = 128
LONGEST_TAG_VALUE = 256
TAG_KEY = re.compile(r"[\w.:/+@-]([\w .:/+@-]*[\w.:/+@-])?")
TAG_VALUE = re.compile(r"([\w.:/+@=-]([\w .:/+@=-]*[\w.:/+@=-])?)?")
# Names of classes have at most 253 characters, and one of two gets "-dynamic".
LONGEST_CLASS_BASE = 245
# Far above every quota of AWS, which answers with the quota itself.
LARGEST_RATE_MIBPS = 100_000
# A security group has room for 60 rules, unless AWS raises that quota; subnets need some of them.
MOST_CIDRS = 20
# The largest private network, 10.0.0.0/8.
SHORTEST_PREFIX = 8
MOUNT_OPTION = re.compile(r"[a-z0-9_]+(=[A-Za-z0-9_.:/-]+)?")
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._:/@-]*")


def bytes_of(capacity: str) -> int:
    """Return the number of bytes of a capacity such as `100Gi`.

    Raises:
        ValueError: It is not a whole number with one of the units, or out of range.
    """
    match = re.fullmatch(r"([1-9][0-9]{0,18})(Mi|Gi|Ti|Pi)", capacity)
    if match is None or (number := int(match[1]) * UNITS[match[2]]) > LARGEST_CAPACITY_BYTES:
        raise ValueError(
            f"{quote(capacity)}: use a whole number with Mi, Gi, Ti or Pi, as in 100Gi"
        )
    return number


def _capacity(value: str) -> str:
    bytes_of(value)
    return value


def _label(value: str) -> str:
    if not DNS_LABEL.fullmatch(value):
        raise ValueError(f"{quote(value)}: use lower-case letters, digits and dashes, at most 63")
    return value


def _subdomain(value: str) -> str:
    if len(value) > 253 or not DNS_SUBDOMAIN.fullmatch(value):
        raise ValueError(f"{quote(value)}: use lower-case letters, digits, dashes and dots")
    return value


def _optional(check: Any) -> Any:
    return pydantic.AfterValidator(lambda value: check(value) if value else value)


def _namespaces(value: str) -> tuple[str, ...]:
    names = tuple(value.split())
    for name in names:
        _label(name)
        if names.count(name) > 1:
            raise ValueError(f"{quote(name)} is listed twice: list each namespace once")
    return names


def _mount_options(value: str) -> tuple[str, ...]:
    options = tuple(value.split(",")) if value else ()
    for option in options:
        if not MOUNT_OPTION.fullmatch(option):
            raise ValueError(f"{quote(option)}: use NFS mount options separated by commas")
    return options


def _tags(value: str) -> dict[str, str]:
    tags: dict[str, str] = {}
    for pair in label_syntax.words(value):
        key, equals, text = pair.partition("=")
        if not equals or not TAG_KEY.fullmatch(key) or len(key) > LONGEST_TAG_KEY:
            raise ValueError(
                f"{quote(pair)}: use key=value separated by spaces, in quotes if it has some"
            )
        if not TAG_VALUE.fullmatch(text) or len(text) > LONGEST_TAG_VALUE:
            raise ValueError(
                f"{quote(pair)}: a value has letters, digits, spaces and . : / = + @ - _ only"
            )
        if key.lower().startswith(("aws:", "aws-efs/", "juju-")):
            raise ValueError(f"{quote(key)} is reserved: choose another key")
        if key in tags:
            raise ValueError(f"{quote(key)} is set twice: set each key once")
        tags[key] = text
    if len(tags) > MOST_TAGS:
        raise ValueError(f"has {len(tags)} tags: at most {MOST_TAGS}")
    return tags


def _cidrs(value: str) -> tuple[str, ...]:
    cidrs = tuple(value.split())
    for cidr in cidrs:
        try:
            network = ipaddress.IPv4Network(cidr)
        except ValueError:
            network = None
        if network is None or str(network) != cidr:
            raise ValueError(f"{quote(cidr)}: use IPv4 networks, as in 10.20.0.0/16")
        if network.prefixlen < SHORTEST_PREFIX:
            raise ValueError(
                f"{quote(cidr)} is too wide: use networks of /{SHORTEST_PREFIX} or smaller"
            )
        if cidrs.count(cidr) > 1:
            raise ValueError(f"{quote(cidr)} is listed twice: list each network once")
    if len(cidrs) > MOST_CIDRS:
        raise ValueError(f"has {len(cidrs)} networks: at most {MOST_CIDRS}")
    return cidrs


def _rate(value: int) -> int:
    if not 0 <= value <= LARGEST_RATE_MIBPS:
        raise ValueError(f"{value}: use a whole number from 1 to {LARGEST_RATE_MIBPS}, or 0")
    return value


def _secret(value: str) -> str:
    # The error does not repeat the value: one that is not a secret's URI may be the secret itself.
    if value and not re.fullmatch(r"secret:[A-Za-z0-9_/-]+", value):
        raise ValueError("is not the secret: URI that juju add-secret printed: set that")
    return value


def _matching(pattern: str, expected: str) -> Any:
    def check(value: str) -> str:
        if value and not re.fullmatch(pattern, value):
            raise ValueError(f"{quote(value)}: use {expected}")
        return value

    return pydantic.AfterValidator(check)


def _with_sticky_bit(value: str) -> str:
    """Refuse a directory in which everybody may rename and delete what others made."""
    mode = int(value or "0", 8)
    if mode & (stat.S_IWGRP | stat.S_IWOTH) and not mode & stat.S_ISVTX:
        sticky = f"{stat.S_ISVTX | mode:o}"
        raise ValueError(
            f"{quote(value)} lets pods rename and delete what others made: set the sticky bit, "
            f"as in {sticky}"
        )
    return value


def image_name(value: str) -> str:
    """Return the value if it is a valid name of a container image.

    Raises:
        ValueError: It is not; the message shows a valid one.
    """
    if not IMAGE.fullmatch(value):
        raise ValueError(
            f"{quote(value)}: use a container image, as in docker.io/library/python:3.12"
        )
    return value


class Settings(pydantic.BaseModel):
    """The options of `juju config aws-efs`, by their names in config.yaml with underscores."""

    model_config = pydantic.ConfigDict(frozen=True, hide_input_in_errors=True)

    region: Annotated[
        str, _matching(r"[a-z]{2,}(-[a-z]+)+-[0-9]{1,2}", "an AWS region, as in us-east-1")
    ]
    vpc: Annotated[str, _matching(r"vpc-([0-9a-f]{8}|[0-9a-f]{17})", "a VPC id, vpc-...")]
    file_system_id: Annotated[
        str, _matching(r"fs-[0-9a-f]{8,40}", "the id of an EFS file system, fs-...")
    ]
    allow_cidrs: Annotated[tuple[str, ...], pydantic.BeforeValidator(_cidrs)]
    credentials: Annotated[str, pydantic.AfterValidator(_secret)]
    capacity: Annotated[str, pydantic.AfterValidator(_capacity)]
    claim_capacity: Annotated[str, _optional(_capacity)]
    claim_name: Annotated[str, _optional(_label)]
    namespaces: Annotated[tuple[str, ...], pydantic.BeforeValidator(_namespaces)]
    namespace_selector: Annotated[str, pydantic.AfterValidator(selector_syntax.read)]
    isolation: Annotated[
        str, _matching("shared|namespace", "shared or namespace"), pydantic.Field(min_length=1)
    ]
    storage_class: Annotated[str, _optional(_subdomain)]
    server: Annotated[
        str, _matching("dns|address", "dns or address"), pydantic.Field(min_length=1)
    ]
    mount_options: Annotated[tuple[str, ...], pydantic.BeforeValidator(_mount_options)]
    availability_zone: Annotated[
        str,
        _matching(
            r"[a-z]{2,}(-[a-z]+)+-[0-9]{1,2}[a-z]", "an availability zone, as in us-east-1a"
        ),
    ]
    ip_address_type: Annotated[
        str, _matching("ipv4|dual-stack", "ipv4 or dual-stack"), pydantic.Field(min_length=1)
    ]
    performance_mode: Annotated[
        str,
        _matching("generalPurpose|maxIO", "generalPurpose or maxIO"),
        pydantic.Field(min_length=1),
    ]
    throughput_mode: Annotated[
        str,
        _matching("elastic|bursting|provisioned", "elastic, bursting or provisioned"),
        pydantic.Field(min_length=1),
    ]
    throughput_mibps: Annotated[int, pydantic.AfterValidator(_rate)]
    backup: Annotated[str, _matching("true|false", "true or false, or leave it empty")]
    lifecycle: Annotated[str, pydantic.AfterValidator(lifecycle_syntax.read)]
    encrypted: bool
    kms_key: Annotated[str, _matching(r"[A-Za-z0-9_:/-]+", "the id, ARN or alias of a KMS key")]
    tags: Annotated[dict[str, str], pydantic.BeforeValidator(_tags)]
    root_mode: Annotated[
        str,
        _matching("[0-7]{3,4}", "three or four octal digits, as in 1777"),
        pydantic.Field(min_length=1),
        pydantic.AfterValidator(_with_sticky_bit),
    ]
    loader_image: Annotated[str, pydantic.AfterValidator(image_name)]
    dynamic: bool
    dynamic_image: Annotated[str, pydantic.AfterValidator(image_name)]
    image_pull_secret: Annotated[str, _optional(_subdomain)]
    tolerations: Annotated[
        tuple[dict[str, str], ...], pydantic.BeforeValidator(label_syntax.read_tolerations)
    ]
    node_selector: Annotated[
        dict[str, str], pydantic.BeforeValidator(label_syntax.read_node_selector)
    ]
    job_labels: Annotated[dict[str, str], pydantic.BeforeValidator(label_syntax.read_labels)]
    pod_labels: Annotated[dict[str, str], pydantic.BeforeValidator(label_syntax.read_labels)]
    pod_annotations: Annotated[
        dict[str, str], pydantic.BeforeValidator(label_syntax.read_annotations)
    ]

    @pydantic.model_validator(mode="before")
    @classmethod
    def _texts(cls, values: Mapping[str, object]) -> Mapping[str, object]:
        """Refuse what the validators of single options take for granted."""
        for name, value in values.items():
            title = name.replace("_", "-")
            if name not in NO_TEXTS:
                if not isinstance(value, str):
                    raise ValueError(f"{title} is no text: set it in quotes")
                if len(value) > LONGEST_VALUE:
                    raise ValueError(f"{title} is longer than {LONGEST_VALUE} characters: cut it")
        return values

    @pydantic.model_validator(mode="after")
    def _dynamic_class(self) -> Settings:
        if self.dynamic and len(self.storage_class) > LONGEST_CLASS_BASE:
            raise ValueError(
                f"storage-class is longer than {LONGEST_CLASS_BASE} characters, to which "
                "dynamic=true adds -dynamic: shorten it"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Settings:
        if not (self.namespaces or self.namespace_selector):
            raise ValueError(
                "namespaces is empty: name at least one namespace, or set namespace-selector"
            )
        if self.claim_capacity and bytes_of(self.claim_capacity) > bytes_of(self.capacity):
            raise ValueError(
                f"claim-capacity {self.claim_capacity} is above capacity {self.capacity}: "
                "lower it, or raise capacity"
            )
        if self.performance_mode == "maxIO" and self.throughput_mode == "elastic":
            raise ValueError(
                "performance-mode maxIO does not go with throughput-mode elastic: set bursting"
            )
        if self.performance_mode == "maxIO" and self.availability_zone:
            raise ValueError(
                "performance-mode maxIO does not go with availability-zone: set generalPurpose"
            )
        if self.region and self.availability_zone[:-1] not in ("", self.region):
            raise ValueError(
                f"availability-zone {self.availability_zone} is not in region {self.region}: "
                "choose one of its zones"
            )
        if self.throughput_mode == "provisioned" and not self.throughput_mibps:
            raise ValueError(
                "throughput-mode provisioned needs throughput-mibps: set it, as to 128"
            )
        if self.throughput_mibps and self.throughput_mode != "provisioned":
            raise ValueError(
                "throughput-mibps goes with throughput-mode=provisioned only: set it to 0"
            )
        if "archive=" in self.lifecycle and self.throughput_mode != "elastic":
            raise ValueError(
                "lifecycle archive goes with throughput-mode=elastic only: set that, or remove it"
            )
        if self.kms_key and not self.encrypted:
            raise ValueError("kms-key needs encrypted=true: set it, or unset kms-key")
        return self

    @property
    def policies(self) -> dict[str, str]:
        """Return the options that set policies of the file system, by their names, if set."""
        options = {"backup": self.backup, "lifecycle": self.lifecycle}
        return {name: words for name, words in options.items() if words}

    @property
    def isolated(self) -> bool:
        """Return whether each namespace has a directory of its own."""
        return self.isolation == "namespace"

    @property
    def claim_request(self) -> str:
        """Return the capacity that each claim requests."""
        return self.claim_capacity or self.capacity

    def claim(self, owner: identity.Owner) -> str:
        """Return the name of each claim."""
        return self.claim_name or owner.application


def format_error(error: pydantic.ValidationError) -> str:
    """Return the first validation error: the option or parameter, and its valid values."""
    first = error.errors(include_url=False, include_input=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    name = ".".join(str(part) for part in first["loc"]).replace("_", "-")
    return f"{name} {message}" if name else message
