"""What the user asked for, in the words of each half: pure functions from the settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import identity
from aws import file_system, resources
from cluster import probe
from cluster.volumes import volume_reconcile, volume_resources
from config import Settings


def file_system_wanted(
    owner: identity.Owner,
    settings: Settings,
    *,
    known_id: str,
    addresses: Iterable[str],
    instance_ids: Iterable[str],
) -> resources.DesiredFileSystem:
    """The file system, with a mount target in each zone of these machines."""
    return resources.DesiredFileSystem(
        owner=owner,
        performance_mode=settings.performance_mode,
        throughput_mode=settings.throughput_mode,
        encrypted=settings.encrypted,
        kms_key=settings.kms_key,
        tags=settings.tags,
        vpc_id=settings.vpc,
        addresses=frozenset(addresses),
        instance_ids=frozenset(instance_ids),
        known_id=known_id,
    )


def volumes_wanted(
    owner: identity.Owner, settings: Settings, server: str
) -> volume_resources.DesiredVolumes:
    """The storage class, and a volume with its claim for each namespace."""
    return volume_resources.DesiredVolumes(
        server=server,
        capacity=settings.capacity,
        claim_capacity=settings.claim_request,
        claim_name=settings.claim_name or owner.application,
        namespaces=settings.namespaces,
        storage_class=settings.storage_class or owner.application,
        mount_options=settings.mount_options,
    )


def probe_wanted(
    settings: Settings, state: file_system.FileSystemOutcome, environment: Mapping[str, str]
) -> probe.DesiredProbe:
    """A pod in each zone that has a mount target, to mount the volume and prove it."""
    return probe.DesiredProbe(
        file_system_id=state.file_system_id,
        zones=state.zones,
        mount_options=settings.mount_options,
        root_mode=settings.root_mode,
        image=settings.loader_image,
        environment=environment,
    )


def cluster_objects(owner: identity.Owner, settings: Settings) -> list[str]:
    """What the charm makes in a cluster, a line each: kind and name."""
    made = volume_reconcile.render_manifests(volumes_wanted(owner, settings, server=""), owner)
    return [
        f"{each['kind']} "
        + "/".join(filter(None, (each["metadata"].get("namespace"), each["metadata"]["name"])))
        for each in made
    ]
