from __future__ import annotations

import hashlib
import io
import json
import tarfile

from lightkube.resources import core_v1, storage_v1

from sandbox.juju import kubernetes_bundle
from sandbox.servers import origin_server
from sandbox.stage import Stage


def archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def test_deploy_makes_the_file_system_and_says_what_comes_next(stage: Stage) -> None:
    stage.deploy()
    (made,) = stage.cloud.file_systems()
    status = stage.status()
    assert status.name == "blocked"
    assert status.message == (
        f"{made.id} ready in us-east-1; "
        "next: juju relate aws-efs:kube-control kubernetes-control-plane"
    )
    assert made.encrypted
    assert not any(key.startswith("juju-") for key in made.tags)


def test_a_control_plane_without_a_ca_is_blocked_with_the_relation_that_brings_it(
    stage: Stage,
) -> None:
    kubernetes_bundle.deploy(stage.model)
    stage.deploy()
    stage.model.relate("aws-efs:kube-control", "kubernetes-control-plane")
    assert stage.status().name == "blocked"
    assert "juju relate aws-efs:certificates easyrsa" in stage.status().message


def test_related_it_serves_every_zone_and_proves_each(stage: Stage) -> None:
    stage.settle()
    (made,) = stage.cloud.file_systems()
    assert stage.status().name == "active"
    assert stage.status().message == (
        f"{made.id} in us-east-1: 3 zones, 3 nodes proven, claim default/aws-efs bound (100Gi)"
    )
    targets = stage.cloud.mount_targets(made.id)
    assert sorted(target.zone for target in targets) == sorted(stage.cloud.subnets)
    claim = stage.claim("default")
    assert claim.status and claim.status.phase == "Bound"
    assert claim.status.capacity == {"storage": "100Gi"}
    markers = {path.name for path in (stage.volume() / ".aws-efs" / "probe").iterdir()}
    assert markers == set(stage.cloud.subnets)
    assert stage.volume().stat().st_mode & 0o7777 == 0o1777


def test_workers_without_an_nfs_client_are_named_with_the_command_that_fixes_them(
    stage: Stage,
) -> None:
    kubernetes_bundle.deploy(stage.model, nfs_common=False)
    stage.deploy()
    stage.relate()
    status = stage.status()
    assert status.name == "blocked"
    nodes = sorted(each.metadata.name or "" for each in stage.kube.list(core_v1.Node))
    assert status.message == (
        f"{nodes[0]} +2: no NFS client; juju exec --application kubernetes-worker -- "
        "sudo apt-get install -y nfs-common"
    )
    stage.install_nfs_common()
    stage.model.update_status()
    assert stage.status().name == "active"


def test_workers_that_tell_neither_zone_nor_instance_are_served_by_their_addresses(
    stage: Stage,
) -> None:
    kubernetes_bundle.deploy(stage.model, cloud_provider=False)
    stage.deploy()
    stage.relate()
    status = stage.status()
    assert (status.name, "3 zones, 3 nodes proven" in status.message) == ("active", True), status


def test_where_dns_does_not_resolve_the_name_the_volumes_mount_an_address(stage: Stage) -> None:
    stage.cloud.set_dns(stage.cloud.vpc_id, support=True, hostnames=False)
    stage.nodes.knows_names = False
    stage.settle(config={"server": "address"})
    status = stage.status()
    assert (status.name, "3 zones, 3 nodes proven" in status.message) == ("active", True), status
    volumes = {
        volume.spec.nfs.server
        for volume in stage.kube.list(core_v1.PersistentVolume)
        if volume.spec and volume.spec.nfs
    }
    targets = {target.zone: target.address for target in stage.cloud.mount_targets()}
    assert volumes == {targets["us-east-1a"]}
    shown = stage.run("show-mount", path="/srv/x").results
    listed = [f"{zone} {each}" for zone, each in sorted(targets.items())]
    assert shown["mount-targets"].splitlines() == listed
    assert shown["volumes-mount"] == f"{targets['us-east-1a']} in us-east-1a, from all zones"
    for zone, address in targets.items():
        assert f"# in {zone}\n{address}:/ /srv/x nfs4 nfsvers=4.1," in shown["fstab"]

    # With these lines in each worker's /etc/hosts, each mounts the target of its own zone.
    lines = [line.split() for line in shown["hosts"].splitlines()]
    for node in stage.kube.list(core_v1.Node):
        assert node.metadata and node.metadata.labels and node.metadata.name
        zone = node.metadata.labels["topology.kubernetes.io/zone"]
        (line,) = [line for line in lines if line[-1] == zone]
        stage.nodes.add_host(node.metadata.name, line[1], line[0])
    stage.cloud.set_dns(stage.cloud.vpc_id, support=True, hostnames=True)
    stage.model.config("aws-efs", {"server": "dns"})
    status = stage.status()
    assert "3 zones, 3 nodes proven" in status.message, status
    servers = [each.spec.nfs.server for each in stage.kube.list(core_v1.PersistentVolume)]  # type: ignore[union-attr]
    assert {server.partition(".")[0] for server in servers} == {stage.cloud.file_systems()[0].id}


def test_a_worker_in_a_new_zone_is_served_at_once(stage: Stage) -> None:
    zones = sorted(stage.cloud.subnets)
    stage.settle(workers={zones[0]: 1, zones[1]: 1})
    assert "2 zones, 2 nodes proven" in stage.status().message
    stage.model.relate("aws-efs:workers", "kubernetes-worker")
    stage.model.add_unit("kubernetes-worker", zones=[zones[2]])
    assert {target.zone for target in stage.cloud.mount_targets()} == set(zones)
    assert "3 zones, 3 nodes proven" in stage.status().message


def test_the_manifests_are_published_in_the_relation(stage: Stage) -> None:
    stage.settle()
    published = stage.model.databag("aws-efs:kube-control", "aws-efs")["kubernetes_manifests"]
    kinds = [manifest["kind"] for manifest in json.loads(published)]
    assert kinds.count("PersistentVolumeClaim") == 2
    assert {"StorageClass", "PersistentVolume", "Namespace"} <= set(kinds)
    stage.model.config("aws-efs", {"capacity": "7Gi"})
    changed = stage.model.databag("aws-efs:kube-control", "aws-efs")["kubernetes_manifests"]
    assert "7Gi" in changed


def test_a_data_set_is_downloaded_verified_and_published(stage: Stage) -> None:
    stage.settle()
    content = archive({"a/one.txt": b"one", "two.txt": b"two!"})
    checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
    with origin_server.Origin.start() as server:
        url = server.put("flowers.tar.gz", content)
        done = stage.run("create-dataset", name="flowers", source=url, checksum=checksum)
        again = stage.run("create-dataset", name="flowers", source=url, checksum=checksum)
        other = stage.run("create-dataset", name="flowers", source=url)
    assert done.status == "completed", done
    assert done.results["state"] == "published"
    assert (done.results["files"], done.results["bytes"]) == ("2", "7")
    assert done.results["path"] == "/datasets/flowers"
    published = stage.volume() / "datasets" / "flowers"
    assert published.is_symlink()
    assert (published / "a" / "one.txt").read_bytes() == b"one"
    assert again.results == done.results
    assert other.status == "failed"
    assert "overwrite=true" in other.message


def test_the_live_claim_grows_and_shrinks(stage: Stage) -> None:
    stage.settle()
    for capacity in ("200Gi", "50Gi"):
        stage.model.config("aws-efs", {"capacity": capacity})
        claim = stage.claim("default")
        assert claim.status and claim.status.capacity == {"storage": capacity}
        assert f"bound ({capacity})" in stage.status().message


def test_a_second_namespace_gets_a_claim_on_the_same_file_system(stage: Stage) -> None:
    stage.settle()
    stage.model.config("aws-efs", {"namespaces": "default research"})
    assert stage.status().name == "waiting"
    assert "kubectl create namespace research" in stage.status().message
    stage.create_namespace("research")
    stage.model.update_status()
    assert stage.status().name == "active"
    assert "claims default/aws-efs, research/aws-efs bound" in stage.status().message
    servers = {
        volume.spec.nfs.server
        for volume in stage.kube.list(core_v1.PersistentVolume)
        if volume.spec and volume.spec.nfs
    }
    assert len(servers) == 1


def test_teardown_leaves_nothing_and_says_what_it_deleted_as_it_goes(stage: Stage) -> None:
    stage.settle()
    (made,) = stage.cloud.file_systems()
    done = stage.run("teardown", confirm=made.id)
    assert done.status == "completed", done
    assert done.results["deleted"].splitlines() == list(done.log)
    *deleted, kept = done.log
    assert kept.startswith(f"stays: recovery points of {made.id} in AWS Backup")
    kinds = [line.split()[1] for line in deleted]
    assert kinds == sorted(kinds, key=ORDER.index)
    assert stage.cloud.file_systems() == ()
    assert [group for group in stage.cloud.security_groups() if "efs" in group.name] == []
    assert list(stage.kube.list(core_v1.PersistentVolume)) == []
    assert list(stage.kube.list(storage_v1.StorageClass)) == []
    namespaces = {
        each.metadata.name for each in stage.kube.list(core_v1.Namespace) if each.metadata
    }
    assert "aws-efs" not in namespaces
    assert stage.status().name == "blocked"
    assert stage.status().message.startswith("torn down: ")
    assert stage.model.databag("aws-efs:kube-control", "aws-efs")["kubernetes_manifests"] == "[]"


ORDER = ["job", "claim", "volume", "storage", "namespace", "mount", "file", "security"]


def test_torn_down_stays_torn_down_until_setup(stage: Stage) -> None:
    stage.settle()
    stage.run("teardown", confirm=stage.cloud.file_systems()[0].id)
    stage.model.update_status()
    assert stage.cloud.file_systems() == ()
    assert stage.run("setup").status == "completed"
    assert len(stage.cloud.file_systems()) == 1
    assert stage.status().name == "active"


def test_show_mount_prints_what_another_host_needs(stage: Stage) -> None:
    stage.deploy(units=2)
    (made,) = stage.cloud.file_systems()
    for unit in ("aws-efs/0", "aws-efs/1"):
        shown = stage.run("show-mount", unit=unit, path="/srv/data")
        assert shown.status == "completed", shown
        host = f"{made.id}.efs.us-east-1.amazonaws.com:/"
        assert "sudo apt-get install -y nfs-common" in shown.results["commands"]
        assert f"{host} /srv/data" in shown.results["commands"].splitlines()[2]
        assert shown.results["fstab"].startswith(f"{host} /srv/data nfs4 nfsvers=4.1,")
        assert "volumes-mount" not in shown.results


def test_a_custom_loader_fills_a_directory_and_ours_publishes_it(stage: Stage) -> None:
    stage.settle()
    token = stage.model.add_secret({"token": "opensesame"})
    stage.model.grant_secret(token, "aws-efs")
    script = (
        'mkdir -p /data/sub && echo "$WORD" > /data/sub/word && '
        'printf %s "$TOKEN" | wc -c > /data/n'
    )
    done = stage.run(
        "create-dataset",
        name="mine",
        image="docker.io/library/busybox:1.37",
        command=f"sh -c '{script}'",
        env=f"WORD='two words' TOKEN={token}/token",
    )
    assert done.status == "completed", done
    assert (done.results["state"], done.results["files"]) == ("published", "2")
    published = stage.volume() / "datasets" / "mine"
    assert (published / "sub" / "word").read_text() == "two words\n"
    assert (published / "n").read_text().strip() == str(len("opensesame"))
    left = {path.name for path in (stage.volume() / "datasets" / ".versions" / "mine").iterdir()}
    assert not any(name.startswith((".custom-", ".load-", ".trash-")) for name in left)


def test_a_custom_loader_that_fails_is_reported_with_its_last_words(stage: Stage) -> None:
    stage.settle()
    done = stage.run(
        "create-dataset",
        name="mine",
        image="docker.io/library/busybox:1.37",
        command="sh -c 'echo no such bucket; exit 3'",
    )
    assert done.status == "failed"
    assert "exit code 3" in done.message
    assert "no such bucket" in done.message
    assert not (stage.volume() / "datasets" / "mine").is_symlink()


def test_setup_does_not_leave_a_file_system_behind_in_another_region(stage: Stage) -> None:
    stage.deploy()
    (made,) = stage.cloud.file_systems()
    stage.model.config("aws-efs", {"region": "eu-west-1"})
    refused = stage.run("setup")
    assert refused.status == "failed"
    assert made.id in refused.message
    assert stage.cloud.file_systems("eu-west-1") == ()
    stage.model.reset("aws-efs", "region")
    assert stage.status().message.startswith(f"{made.id} ready in us-east-1")
