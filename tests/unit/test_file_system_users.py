"""Who uses the file system, by every way in which a volume can name it."""

from __future__ import annotations

from typing import Any

import pytest
from lightkube.resources import core_v1

import identity
from cluster import file_system_users, ownership

OWNER = identity.Owner(model_uuid="6f4bf1dd-1a42-4b8c-8f0e-3c8a2e0f9a11", application="aws-efs")
FS = "fs-0a1b2c3d4e5f60718"
SERVER = f"{FS}.efs.us-east-1.amazonaws.com"
ADDRESS = "10.0.1.4"
IPV6_ADDRESS = "2001:0DB8::1:0:0:5"
OURS = "aws-efs-6f4bf1dd-default"


def nfs(server: str = SERVER, path: str = "/") -> dict[str, Any]:
    return {"nfs": {"server": server, "path": path}}


def csi(handle: str, driver: str = "efs.csi.aws.com", **attributes: str) -> dict[str, Any]:
    source: dict[str, Any] = {"driver": driver, "volumeHandle": handle}
    return {"csi": {**source, **({"volumeAttributes": attributes} if attributes else {})}}


def volume(
    source: dict[str, Any],
    name: str = "theirs",
    claim: tuple[str, str] | None = ("research", "data"),
    *,
    marked: bool = False,
    options: tuple[str, ...] = (),
) -> core_v1.PersistentVolume:
    spec: dict[str, Any] = {**source, "mountOptions": list(options)}
    if claim:
        spec["claimRef"] = {"namespace": claim[0], "name": claim[1]}
    labels = ownership.labels(OWNER) if marked else {}
    return core_v1.PersistentVolume.from_dict(
        {"metadata": {"name": name, "labels": labels}, "spec": spec}
    )


def pod(
    source: dict[str, Any],
    namespace: str = "research",
    *,
    mount: dict[str, Any] | None = None,
    phase: str = "Running",
    **metadata: Any,
) -> core_v1.Pod:
    mounts = [{"name": "data", "mountPath": "/data", **(mount or {})}]
    return core_v1.Pod.from_dict(
        {
            "metadata": {"name": "reader", "namespace": namespace, **metadata},
            "spec": {
                "containers": [{"name": "main", "volumeMounts": mounts}],
                "volumes": [{"name": "data", **source}],
            },
            "status": {"phase": phase},
        }
    )


def claimed(name: str = "data") -> dict[str, Any]:
    return {"persistentVolumeClaim": {"claimName": name}}


def asking(volume_name: str | None, namespace: str, name: str) -> core_v1.PersistentVolumeClaim:
    return core_v1.PersistentVolumeClaim.from_dict(
        {
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"volumeName": volume_name},
        }
    )


def users(
    volumes: list[core_v1.PersistentVolume],
    pods: list[core_v1.Pod],
    claims: list[core_v1.PersistentVolumeClaim] | None = None,
) -> file_system_users.FileSystemUsers:
    return file_system_users.find_users(
        OWNER, [FS, ADDRESS, IPV6_ADDRESS], volumes, claims or [], pods
    )


SOURCES = {
    "its name": nfs(),
    "its name in other letters": nfs(SERVER.upper()),
    "its name with a dot at the end": nfs(f"{SERVER}."),
    "the name of one zone's mount target": nfs(f"us-east-1a.{SERVER}"),
    "the name in another partition": nfs(f"{FS}.efs.cn-north-1.amazonaws.com.cn"),
    "the FIPS name": nfs(f"{FS}.efs-fips.us-east-1.amazonaws.com"),
    "the address of a mount target": nfs(ADDRESS),
    "that address with a dot at the end": nfs(f"{ADDRESS}."),
    "that address with fewer numbers": nfs("10.0.260"),
    "that address as one number": nfs("167772420"),
    "that address in hexadecimal": nfs("0x0a.0.0x1.0x4"),
    "that address in octal": nfs("012.0.01.04"),
    "that address in IPv6": nfs(f"::ffff:{ADDRESS}"),
    "that address in IPv6, in hexadecimal": nfs("::FFFF:0a00:0104"),
    "that address in IPv6, in brackets": nfs("[::ffff:a00:104]"),
    "the IPv6 address of a mount target": nfs("2001:db8::1:0:0:5"),
    "that IPv6 address in full": nfs("2001:0db8:0000:0000:0001:0000:0000:0005"),
    "that IPv6 address in brackets": nfs("[2001:DB8:0:0:1::5]"),
    "that IPv6 address in brackets, with a zone": nfs("[2001:db8::1:0:0:5%eth0]"),
    "that IPv6 address before a path": csi("2001:db8::1:0:0:5:/srv", "nfs.csi.k8s.io"),
    "the name of one zone's mount target in other letters": nfs(f"US-EAST-1A.{SERVER.upper()}."),
    "the EFS driver in other letters": csi(FS.upper()),
    "the EFS driver with an address": csi("fs-x", mounttargetip=ADDRESS),
    "the NFS driver with an address": csi("x", "nfs.csi.k8s.io", server="0xa000104", share="/"),
    "a driver's secret name": csi("x", "theirs.example.com", source=f"nfs://{SERVER}/srv"),
    "an ARN": csi(f"arn:aws:elasticfilesystem:us-east-1:123456789012:file-system/{FS}"),
    "a directory of it": nfs(path="/srv"),
    "the EFS driver": csi(FS),
    "the EFS driver with a directory": csi(f"{FS}:/srv"),
    "the EFS driver with an access point": csi(f"{FS}::fsap-0123456789abcdef0"),
    "the EFS driver with both": csi(f"{FS}:/srv:fsap-0123456789abcdef0"),
    "the NFS driver": csi("x", "nfs.csi.k8s.io", server=SERVER, share="/"),
    "the NFS driver's handle": csi(f"{SERVER}#/#pvc-1##", "nfs.csi.k8s.io"),
    "a flexible volume": {"flexVolume": {"driver": "d/nfs", "options": {"server": SERVER}}},
}
OTHERS = {
    "another server": nfs("nfs.example.internal"),
    "another file system": nfs("fs-0a1b2c3d4e5f60719.efs.us-east-1.amazonaws.com"),
    "a longer id": nfs(f"{FS}9.efs.us-east-1.amazonaws.com"),
    "a name that ends so": nfs(f"my-{FS}.example.internal"),
    "a longer address": nfs("110.0.1.4"),
    "another address": nfs("10.0.1.40"),
    "another address in IPv6": nfs("::ffff:10.0.1.40"),
    "an IPv6 address": nfs("2001:db8::10:0:1:4"),
    "another IPv6 address": nfs("2001:db8::1:0:0:6"),
    "an IPv6 address that begins so": csi("[2001:db8::1:0:0:5:6]:/srv", "x"),
    "an IPv6 address that ends so": csi("[1:2001:db8::1:0:0:5]:/srv", "x"),
    "another address as one number": nfs("167772421"),
    "no address": nfs("10.0.260\x00"),
    "an empty name": nfs(""),
    "another EFS": csi("fs-0a1b2c3d"),
    "a disk": {"awsElasticBlockStore": {"volumeID": FS}},
    "a directory of the node": {"hostPath": {"path": f"/{FS}"}},
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_a_volume_of_others_is_found_with_its_pod_however_it_names_the_file_system(source):
    found = users([volume(source)], [pod(claimed())])
    assert found.foreign() == ["pod research/reader", "volume theirs (claim research/data)"]


@pytest.mark.parametrize("source", OTHERS.values(), ids=OTHERS)
def test_a_volume_on_another_file_system_is_no_user(source):
    assert users([volume(source)], [pod(claimed())]).foreign() == []


@pytest.mark.parametrize(
    "source",
    [
        nfs(),
        nfs(ADDRESS),
        {"csi": {"driver": "nfs.csi.k8s.io", "volumeAttributes": {"server": SERVER}}},
        {"flexVolume": {"driver": "d/nfs", "options": {"server": SERVER}}},
    ],
    ids=["name", "address", "driver", "flexible"],
)
def test_a_volume_in_the_pod_itself_is_found(source):
    assert users([], [pod(source)]).foreign() == ["pod research/reader"]


@pytest.mark.parametrize(
    "source", [{"configMap": {"name": FS}}, {"secret": {"secretName": FS}}, {"emptyDir": {}}]
)
def test_a_volume_of_another_kind_is_none_whatever_its_name(source):
    assert users([], [pod(source)]).foreign() == []


def test_an_address_in_the_mount_options_counts():
    named = volume(csi("fs-00000000"), options=("mounttargetip=10.0.1.4",))
    assert users([named], []).foreign() == ["volume theirs (claim research/data)"]


def test_a_claim_of_the_pods_own_counts():
    ephemeral = {"ephemeral": {"volumeClaimTemplate": {"spec": {}}}}
    made = volume(csi(f"{FS}::fsap-1"), claim=("research", "reader-data"))
    assert "pod research/reader" in users([made], [pod(ephemeral)]).foreign()


def test_a_claim_of_that_name_in_another_namespace_does_not_count():
    assert users([volume(nfs())], [pod(claimed(), "other")]).foreign() == [
        "volume theirs (claim research/data)"
    ]


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_is_no_user(phase):
    assert users([], [pod(nfs(), phase=phase)]).foreign() == []


def test_a_volume_without_claim_and_without_pods_is_a_user():
    assert users([volume(nfs(), claim=None)], []).foreign() == ["volume theirs"]


def test_our_volume_and_its_pods_are_not_foreign():
    ours = volume(nfs(), OURS, ("default", "aws-efs"), marked=True)
    found = users([ours], [pod(claimed("aws-efs"), "default")])
    assert found.foreign() == []
    assert found.seeing(["/datasets/x"]) == ["default/reader"]


@pytest.mark.parametrize(
    "given_to", [None, ("other", "taken"), ("default", "taken")], ids=["none", "there", "here"]
)
def test_a_pod_keeps_what_it_has_mounted_whatever_claim_its_volume_names_by_now(given_to):
    found = users(
        [volume(nfs(), OURS, given_to, marked=True)],
        [pod(claimed("aws-efs"), "default")],
        [asking(OURS, "default", "aws-efs"), asking(None, "default", "theirs")],
    )
    assert found.seeing(("/datasets/x",)) == ["default/reader"]


def test_our_volume_that_was_given_to_a_claim_elsewhere_is_an_obstacle_with_its_pods():
    found = users(
        [volume(nfs(), OURS, ("other", "taken"), marked=True)],
        [pod(claimed("taken"), "other"), pod(claimed("aws-efs"), "default")],
        [asking(OURS, "default", "aws-efs"), asking(OURS, "other", "taken")],
    )
    assert found.foreign() == [
        "pod default/reader",
        "pod other/reader",
        f"volume {OURS} (claim other/taken)",
    ]


def test_a_claim_that_only_asks_for_our_volume_makes_nobody_foreign():
    found = users(
        [volume(nfs(), OURS, ("default", "aws-efs"), marked=True)],
        [pod(claimed("theirs"), "other")],
        [asking(OURS, "default", "aws-efs"), asking(OURS, "other", "theirs")],
    )
    assert found.foreign() == []


def test_a_copy_of_our_volume_is_foreign():
    copy = volume(nfs(), "copy", ("default", "aws-efs"), marked=True)
    assert users([copy], []).foreign() == ["volume copy (claim default/aws-efs)"]


@pytest.mark.parametrize(
    ("path", "mount", "sees"),
    [
        ("/", {}, True),
        ("/", {"subPath": "datasets"}, True),
        ("/", {"subPath": "datasets/x"}, True),
        ("/", {"subPath": "datasets/x/y"}, True),
        ("/", {"subPath": "datasets/xy"}, False),
        ("/", {"subPath": "other"}, False),
        ("/", {"subPathExpr": "datasets/$(NAME)"}, True),
        ("/", {"subPathExpr": "logs/$(NAME)"}, False),
        ("/datasets", {}, True),
        ("/datasets", {"subPath": "y"}, False),
        ("/datasets/x", {"subPath": "deep"}, True),
        ("//datasets/./x/", {}, True),
        ("/other/../datasets/x", {}, True),
        ("/other", {"subPath": "datasets/x"}, False),
        ("/", {"name": "unused"}, False),
    ],
)
def test_a_pod_sees_a_data_set_where_its_directories_overlap(path, mount, sees):
    found = users([], [pod(nfs(path=path), mount=mount)])
    assert found.seeing(["/datasets/x"]) == (["research/reader"] if sees else [])
    assert found.foreign() == ["pod research/reader"]


@pytest.mark.parametrize(
    ("handle", "attributes", "sees"),
    [
        (FS, {}, True),
        (f"{FS}:/other", {}, False),
        (f"{FS}:/other", {"encryptInTransit": "true"}, False),
        (f"{FS}:/other:fsap-1", {}, True),
        (f"{FS}:/other", {"path": "/x"}, True),
    ],
)
def test_a_directory_of_the_efs_driver_that_is_unknown_may_be_any(handle, attributes, sees):
    found = users([volume(csi(handle, **attributes))], [pod(claimed())])
    assert found.seeing(["/datasets/x"]) == (["research/reader"] if sees else [])


@pytest.mark.parametrize(
    "owner",
    [
        {"apiVersion": "batch.volcano.sh/v1alpha1", "kind": "Job"},
        {"apiVersion": "theirs.test/v1", "kind": "Job"},
        {"apiVersion": "v1", "kind": "Job"},
        {"apiVersion": "batch/v1", "kind": "CronJob"},
        {"apiVersion": "batch/v1", "kind": "Job", "controller": False},
    ],
)
def test_the_pod_of_a_job_of_another_group_is_a_user_whatever_its_labels(owner):
    owners = [{"controller": True, "name": "load", "uid": "1", **owner}]
    marked = {"labels": ownership.labels(OWNER), "ownerReferences": owners}
    found = users([], [pod(nfs(), OWNER.application, **marked)])
    assert [each.title for each in found.pods] == ["aws-efs/reader"]


def test_only_the_pods_of_our_jobs_are_left_out_and_no_copy_of_their_labels():
    job = [{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "1", "controller": True}]
    labels = ownership.labels(OWNER)
    ours = volume(nfs(), "aws-efs-6f4bf1dd-aws-efs", ("aws-efs", "aws-efs"), marked=True)
    theirs = volume(nfs(), OURS, ("default", "aws-efs"), marked=True)
    pods = [
        pod(claimed("aws-efs"), "aws-efs", labels=labels, ownerReferences=job),
        pod(claimed("aws-efs"), "default", labels=labels, ownerReferences=job),
    ]
    found = users([ours, theirs], pods)
    assert found.seeing(["/datasets/x"]) == ["default/reader"]
