"""Convert a container of a pod's manifest to the program that it runs; it starts nothing."""

from __future__ import annotations

import dataclasses
import pathlib
import re

from lightkube.utils import quantity

from sandbox.node import container_process, kubelet_client, pod_references

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# The sandbox's origins are on loopback, which the loader refuses. No pod can change this.
_ORIGINS_ON_LOOPBACK = {"AWS_EFS_ALLOWED_NETWORKS": "127.0.0.0/8,::1"}
_PROVISIONER = pathlib.Path(__file__).with_name("subdirectory_provisioner.py")
_VARIABLE = re.compile(r"\$(?:\$|\(([A-Za-z_.-][A-Za-z0-9_.-]*)\))")


class ConfigError(Exception):
    """A container that cannot be created from its manifest; in the kubelet's words."""


def build(
    pod: kubelet_client.Object,
    container: kubelet_client.Object,
    references: pod_references.References,
    mounts: tuple[container_process.Mount, ...],
) -> container_process.Program:
    """Return the program of one container.

    Args:
        pod: Its pod.
        container: The container in the pod's spec.
        references: The objects that the pod refers to.
        mounts: The container's mounts of the pod's volumes.

    Raises:
        ConfigError: Something that it needs is missing or not allowed.
    """
    hostname: str = pod["spec"].get("hostname") or pod["metadata"]["name"]
    try:
        values = _values(container, references)
    except pod_references.MissingError as error:
        raise ConfigError(str(error)) from error
    command = [_expanded(text, values) for text in container.get("command", [])]
    arguments = [_expanded(text, values) for text in container.get("args", [])]
    program = container_process.Program(
        argv=(*command, *arguments) or _image_command(container["image"]),
        environment={
            "PATH": PATH,
            "HOME": "/root",
            "HOSTNAME": hostname,
            "LANG": "C.UTF-8",
            **references.api_server,
            **values,
            **_ORIGINS_ON_LOOPBACK,
        },
        hostname=hostname[:63],
        directory=container.get("workingDir") or "/",
        memory_bytes=_memory_bytes(container),
        mounts=mounts,
    )
    return _secured(program, pod, container)


def _memory_bytes(container: kubelet_client.Object) -> int:
    """Return the limit of a container's memory; 0 where it has none."""
    limit = container.get("resources", {}).get("limits", {}).get("memory", "0")
    return int(quantity.parse_quantity(limit) or 0)


def _values(
    container: kubelet_client.Object, references: pod_references.References
) -> dict[str, str]:
    values: dict[str, str] = {}
    for source in container.get("envFrom", []):
        prefix = source.get("prefix", "")
        for key, value in _all_of(source, references).items():
            values[prefix + key] = value
    for variable in container.get("env", []):
        if "valueFrom" not in variable:
            values[variable["name"]] = _expanded(variable.get("value", ""), values)
            continue
        value = _value_from(variable["valueFrom"], container, references)
        if value is not None:
            values[variable["name"]] = value
    return values


def _all_of(
    source: kubelet_client.Object, references: pod_references.References
) -> dict[str, str]:
    kind = "ConfigMap" if "configMapRef" in source else "Secret"
    reference = source.get("configMapRef") or source["secretRef"]
    try:
        return references.variables(kind, reference["name"])
    except pod_references.MissingError:
        if reference.get("optional"):
            return {}
        raise


def _value_from(
    source: kubelet_client.Object,
    container: kubelet_client.Object,
    references: pod_references.References,
) -> str | None:
    if "fieldRef" in source:
        return references.field(source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        kind, _, name = source["resourceFieldRef"]["resource"].partition(".")
        return str(container.get("resources", {}).get(kind, {}).get(name, "0"))
    kind = "ConfigMap" if "configMapKeyRef" in source else "Secret"
    reference = source.get("configMapKeyRef") or source["secretKeyRef"]
    name, key = reference["name"], reference["key"]
    try:
        values = references.variables(kind, name)
        if key not in values:
            message = f"couldn't find key {key} in {kind} {references.namespace}/{name}"
            raise pod_references.MissingError(message)
        return values[key]
    except pod_references.MissingError:
        if reference.get("optional"):
            return None
        raise


def _expanded(text: str, values: dict[str, str]) -> str:
    """Replace $(NAME) in a text; $$ is a dollar sign, and unknown names stay unchanged."""

    def replacement(match: re.Match[str]) -> str:
        if match[1] is None:
            return "$"
        return values.get(match[1], match[0])

    return _VARIABLE.sub(replacement, text)


def _image_command(image: str) -> tuple[str, ...]:
    """Return the default command of an image."""
    if "/nfs-subdir-external-provisioner" in image:
        return ("python3", "-I", "-S", "-c", _PROVISIONER.read_text(encoding="utf-8"))
    return ("python3",) if re.search(r"(^|/)python([:@]|$)", image) else ("sh",)


def _secured(
    program: container_process.Program,
    pod: kubelet_client.Object,
    container: kubelet_client.Object,
) -> container_process.Program:
    """Apply the security contexts of pod and container to a program."""
    of_pod = pod["spec"].get("securityContext", {})
    context = {**of_pod, **container.get("securityContext", {})}
    user: int = context.get("runAsUser", 0)
    if context.get("runAsNonRoot") and user == 0:
        where = f'pod: "{pod["metadata"]["name"]}", container: {container["name"]}'
        raise ConfigError(f"container has runAsNonRoot and image will run as root ({where})")
    group: int = context.get("runAsGroup", 0)
    groups = {group, *of_pod.get("supplementalGroups", [])}
    if "fsGroup" in of_pod:
        groups.add(of_pod["fsGroup"])
    return dataclasses.replace(
        program,
        user=user,
        group=group,
        groups=tuple(sorted(groups)),
        capabilities=_capabilities(context),
        no_new_privileges=not context.get("allowPrivilegeEscalation", True),
        read_only_root=context.get("readOnlyRootFilesystem", False),
    )


def _capabilities(context: kubelet_client.Object) -> frozenset[str]:
    if context.get("privileged"):
        return container_process.ALL_CAPABILITIES
    changes = context.get("capabilities", {})
    added = frozenset[str](name.removeprefix("CAP_") for name in changes.get("add", []))
    dropped = frozenset[str](name.removeprefix("CAP_") for name in changes.get("drop", []))
    kept = container_process.DEFAULT_CAPABILITIES - dropped
    if "ALL" in dropped:
        kept = frozenset[str]()
    if "ALL" in added:
        return container_process.ALL_CAPABILITIES
    return kept | added
