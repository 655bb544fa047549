from __future__ import annotations

from typing import Any

import pytest
from lightkube.resources import core_v1, storage_v1

from sandbox.juju.charm_files import JujuError
from sandbox.juju.juju_model import ActionResult
from sandbox.stage import APPLICATION, Stage

SOURCE = "https://origin.invalid/flowers.tar.gz"
PASSWORD = "hunter2-is-secret"
BAD_OPTIONS = [
    *(
        ("capacity", value)
        for value in ("", "100", "100GB", "-1Gi", "1e9Gi", "0", "0Gi", "1.5Gi", " 1Gi", "9999Pi")
    ),
    ("claim-capacity", "101Gi"),
    ("claim-capacity", "much"),
    ("namespaces", ""),
    ("namespaces", "default default"),
    ("namespaces", "Default"),
    ("namespaces", "n" * 64),
    ("namespaces", "default $(reboot)"),
    ("namespaces", "default;reboot"),
    ("namespaces", "-default"),
    ("claim-name", "My_Claim"),
    ("storage-class", "two words"),
    ("mount-options", "hard; reboot"),
    ("performance-mode", "fast"),
    ("throughput-mode", ""),
    ("throughput-mode", "fast"),
    ("kms-key", "a key"),
    ("backup", "yes"),
    ("backup", "True"),
    ("lifecycle", "ia=31d"),
    ("lifecycle", "ia=90d archive=30d"),
    ("tags", "loose"),
    ("tags", "juju-model-uuid=1"),
    ("tags", "aws:owner=1"),
    ("root-mode", "rwx"),
    ("root-mode", "9999"),
    ("root-mode", "0777"),
    ("loader-image", ""),
    ("loader-image", "image with blanks"),
    ("region", "Virginia"),
    ("vpc", "default"),
    ("credentials", "AKIA-in-the-clear"),
    ("file-system-id", "fs-mine"),
    ("allow-cidrs", "0.0.0.0/0"),
    ("allow-cidrs", "10.0.0.1/8"),
]
BAD_NAMES = [
    "..",
    ".",
    "a/b",
    "",
    "x" * 300,
    "blümchen",
    ".hidden",
    "-x",
    "x-",
    "Two Words",
    "a;b",
]


@pytest.mark.parametrize(("option", "value"), BAD_OPTIONS)
def test_a_bad_option_is_named_and_changes_nothing(stage: Stage, option: str, value: str) -> None:
    stage.deploy()
    good = stage.status()
    stage.cloud.reset_calls()
    stage.model.config(APPLICATION, {option: value})
    status = stage.status()
    assert status.name == "blocked"
    assert status.message.startswith(f"{option} "), status
    assert len(status.message) <= 120
    assert stage.cloud.calls == []
    stage.model.reset(APPLICATION, option)
    assert stage.status() == good


def objects(stage: Stage) -> set[tuple[str, str | None]]:
    found = [
        *stage.kube.list(core_v1.PersistentVolume),
        *stage.kube.list(core_v1.PersistentVolumeClaim, namespace="*"),
        *stage.kube.list(storage_v1.StorageClass),
    ]
    named = [each.metadata for each in found if each.metadata]
    return {(f"{each.namespace}/{each.name}", each.resourceVersion) for each in named}


def test_a_bad_option_changes_nothing_in_the_cluster(stage: Stage) -> None:
    stage.settle()
    good, before = stage.status(), objects(stage)
    stage.cloud.reset_calls()
    for option in dict(BAD_OPTIONS):
        stage.model.config(APPLICATION, {option: dict(BAD_OPTIONS)[option]})
        assert stage.status().name == "blocked", option
        stage.model.reset(APPLICATION, option)
    assert objects(stage) == before
    assert stage.writes() == []
    assert stage.status() == good


def test_a_bad_option_at_deploy_creates_nothing_until_it_is_corrected(stage: Stage) -> None:
    stage.deploy(config={"capacity": "100GB"})
    assert stage.status().name == "blocked"
    assert "capacity '100GB'" in stage.status().message
    assert "juju config" in stage.status().message
    assert stage.cloud.calls == []
    stage.model.config(APPLICATION, {"capacity": "100Gi"})
    assert "ready in us-east-1" in stage.status().message


def test_claim_capacity_above_capacity_is_refused_whichever_changes(stage: Stage) -> None:
    stage.deploy(config={"claim-capacity": "50Gi"})
    stage.model.config(APPLICATION, {"capacity": "10Gi"})
    assert stage.status().message.startswith("claim-capacity 50Gi is above capacity 10Gi")
    stage.model.config(APPLICATION, {"claim-capacity": "10Gi"})
    assert "ready in us-east-1" in stage.status().message


def test_a_region_that_does_not_exist_is_reported_with_the_nearest_name(stage: Stage) -> None:
    stage.deploy(config={"region": "us-eats-1"})
    assert stage.status().name == "blocked"
    assert "us-eats-1" in stage.status().message
    assert "us-east-1" in stage.status().message
    assert stage.cloud.calls == []
    stage.model.config(APPLICATION, {"region": "us-east-1"})
    assert "ready in us-east-1" in stage.status().message


@pytest.mark.parametrize(("option", "value"), [("encrypted", "maybe"), ("colour", "blue")])
def test_juju_itself_refuses_what_the_charm_does_not_declare(
    stage: Stage, option: str, value: str
) -> None:
    stage.deploy()
    with pytest.raises(JujuError, match=option):
        stage.model.config(APPLICATION, {option: value})


def refused(stage: Stage, action: str = "create-dataset", **params: Any) -> ActionResult:
    """Run an action that must fail, change nothing and show no secret."""
    done = stage.run(action, **params)
    assert done.status == "failed", done
    assert "exit status" not in done.message
    assert done.results == {}
    assert stage.writes() == []
    assert PASSWORD not in repr((done, stage.model.log, stage.status()))
    return done


@pytest.fixture
def deployed(stage: Stage) -> Stage:
    stage.deploy()
    stage.cloud.reset_calls()
    return stage


def test_a_name_that_no_directory_should_have_is_refused(deployed: Stage) -> None:
    for name in BAD_NAMES:
        message = refused(deployed, name=name, source=SOURCE).message
        assert message.startswith("name "), message
        assert len(message) < 200
        for action in ("show-dataset", "verify-dataset", "delete-dataset"):
            assert refused(deployed, action, name=name).message == message


@pytest.mark.parametrize(
    "source",
    [
        "file:///etc/passwd",
        "ftp://origin.invalid/x.tar",
        "s3://bucket/x.tar?versionId=1",
        "hf://models/org/name",
        "hf://datasets/org/name/../x",
        "not a url",
        "https://",
        "https:///x.tar",
        "https://[::1/x.tar",
        "https://origin.invalid:port/x.tar",
        f"https://user:{PASSWORD}@origin.invalid/x.tar",
        f"https://{PASSWORD}@origin.invalid/x.tar",
        f"ftp://user:{PASSWORD}@origin.invalid/x.tar",
    ],
)
def test_a_source_that_is_no_plain_link_is_refused_and_not_repeated(
    deployed: Stage, source: str
) -> None:
    assert refused(deployed, name="flowers", source=source).message.startswith("source ")


def test_a_checksum_of_another_form_is_refused(deployed: Stage) -> None:
    for checksum in ("1234", "sha256:", "sha256:12", f"crc32:{'0' * 8}", f"md5:{'g' * 32}"):
        message = refused(deployed, name="x", source=SOURCE, checksum=checksum).message
        assert message.startswith("checksum "), message


@pytest.mark.parametrize(
    "env",
    [
        PASSWORD,
        f"A=1 {PASSWORD}",
        f"1A={PASSWORD}",
        f"={PASSWORD}",
        f"A={PASSWORD} A=2",
        f"A='{PASSWORD}",
        f"A=secret:{PASSWORD}",
    ],
)
def test_env_that_is_not_key_value_is_refused_and_not_repeated(deployed: Stage, env: str) -> None:
    message = refused(deployed, name="x", image="busybox", env=env).message
    assert message.startswith("env "), message


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({}, "source"),
        ({"source": SOURCE, "image": "busybox"}, "not both"),
        ({"image": "busybox", "checksum": f"md5:{'0' * 32}"}, "checksum"),
        ({"image": "busybox", "unpack": False}, "unpack"),
        ({"source": SOURCE, "command": "ls"}, "command"),
        ({"source": SOURCE, "env": "A=1"}, "env"),
        ({"image": "busybox", "command": "echo 'x"}, "command"),
        ({"image": "two words"}, "image"),
        ({"image": "busybox", "parallelism": 2}, "parallelism"),
        ({"source-list": SOURCE, "image": "busybox"}, "not both"),
        ({"source-list": "file:///etc/passwd"}, "source-list"),
        ({"source-list": f"https://me:{PASSWORD}@origin.invalid/list"}, "source-list"),
        ({"source": f"{SOURCE} {SOURCE}"}, "twice"),
        ({"source": f"{SOURCE} {SOURCE}2", "checksum": f"md5:{'0' * 32}"}, "checksum"),
        ({"source": SOURCE, "endpoint": "https://minio.invalid"}, "endpoint"),
        ({"source": "s3://bucket/x", "endpoint": f"https://me:{PASSWORD}@x"}, "endpoint"),
        ({"source": "s3://bucket/x", "credentials": PASSWORD}, "credentials"),
        ({"source": SOURCE, "region": "us-east-1"}, "region"),
        ({"source": "s3://bucket/x", "region": "US East"}, "region"),
        ({"source": SOURCE, "owner": "root"}, "owner"),
        ({"source": SOURCE, "owner": -1}, "owner"),
        ({"source": SOURCE, "mode": "rw-r--r--"}, "mode"),
        ({"source": SOURCE, "mode": 0o644}, "mode"),
        ({"source": SOURCE, "mode": 44}, "mode"),
    ],
)
def test_parameters_that_do_not_go_together_are_refused(
    deployed: Stage, params: dict[str, Any], word: str
) -> None:
    assert word in refused(deployed, name="x", **params).message


@pytest.mark.parametrize("wait", [-1, 601, 10**9])
def test_juju_refuses_to_wait_longer_than_an_action_may(deployed: Stage, wait: object) -> None:
    with pytest.raises(JujuError, match="wait"):
        deployed.run("create-dataset", name="x", source=SOURCE, wait=wait)


@pytest.mark.parametrize(
    ("param", "value"), [("unpack", "all"), ("unpack", 2), ("parallelism", 0), ("parallelism", 65)]
)
def test_juju_refuses_a_value_out_of_range(deployed: Stage, param: str, value: object) -> None:
    with pytest.raises(JujuError, match=param):
        deployed.run("create-dataset", name="x", source=SOURCE, **{param: value})


def test_a_value_of_another_type_is_refused_with_the_way_to_write_it(deployed: Stage) -> None:
    good = {"name": "x", "source": SOURCE}
    for param, value, way in (
        ("name", 2024, "write name='\"...\"'"),
        ("name", None, "use 1 to 50 lower-case letters"),
        ("command", True, "write command='\"...\"'"),
        ("owner", 64, "write owner=64:64"),
        ("mode", 416, "write mode='\"0640\"'"),
        ("parallelism", "many", "a whole number from 1 to 64"),
        ("parallelism", None, "a whole number from 1 to 64"),
        ("overwrite", "maybe", "neither true nor false"),
        ("wait", True, "a whole number from 0 to 600"),
    ):
        message = refused(deployed, **{**good, param: value}).message
        assert message.startswith(f"{param} "), message
        assert way in message, message


@pytest.mark.parametrize(
    ("action", "required"),
    [
        ("create-dataset", {"name": "x", "source": SOURCE}),
        ("delete-dataset", {"name": "x"}),
        ("list-datasets", {}),
        ("list-versions", {"name": "x"}),
        ("rollback", {"name": "x"}),
        ("setup", {}),
        ("show-dataset", {"name": "x"}),
        ("show-mount", {}),
        ("teardown", {}),
        ("verify-dataset", {"name": "x"}),
    ],
)
def test_a_parameter_that_does_not_exist_is_refused(
    deployed: Stage, action: str, required: dict[str, str]
) -> None:
    with pytest.raises(JujuError, match="colour"):
        deployed.run(action, **required, colour="blue")


def test_a_mount_point_that_is_no_plain_path_is_refused(deployed: Stage) -> None:
    for path in ("relative", "/a/../b", "/a b", "/a;reboot", "/$(reboot)", "/", "", "/a/"):
        done = deployed.run("show-mount", path=path)
        assert done.status == "failed", path
        assert done.message.startswith("path "), done


def test_teardown_without_the_right_confirmation_deletes_nothing(deployed: Stage) -> None:
    (made,) = deployed.cloud.file_systems()
    for confirm in ("", "yes", "fs-0123456789abcdef0", made.id.upper(), f"{made.id} "):
        done = deployed.run("teardown", confirm=confirm)
        assert done.status == "failed"
        assert f"confirm={made.id}" in done.message
        assert deployed.writes() == []
    assert deployed.cloud.file_systems() == (made,)
