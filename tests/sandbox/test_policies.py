"""The file system's policies: set as the options say, seldom read, and never by force."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator

import pytest

import problems
from aws import file_system, policies, resources
from sandbox.aws import aws_cloud as sandbox_aws
from sandbox.juju import endpoints
from sandbox.stage import APPLICATION, Stage
from tests.sandbox import aws_rig as rig

SLOW = dataclasses.replace(sandbox_aws.Latencies.none(), file_system_update_seconds=60)
READS = {"DescribeBackupPolicy", "DescribeLifecycleConfiguration"}
WRITES = {"PutBackupPolicy", "PutLifecycleConfiguration"}
BOTH = {"backup": "true", "lifecycle": "ia=30d archive=90d back=on-access"}


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[sandbox_aws.Cloud]:
    with rig.started(monkeypatch, sandbox_aws.Latencies.none()) as cloud:
        yield cloud


def calls(cloud: sandbox_aws.Cloud, *names: set[str]) -> list[str]:
    return [
        call.operation for call in cloud.calls if any(call.operation in each for each in names)
    ]


def backup(stage: Stage) -> str:
    """Return the backup policy as the owner of the account sees it."""
    (made,) = stage.cloud.file_systems()
    efs = rig.administrator(stage, "efs")
    return efs.describe_backup_policy(FileSystemId=made.id)["BackupPolicy"]["Status"]


def let_an_hour_pass(stage: Stage) -> None:
    bag = endpoints.find(stage.model.world, f"{APPLICATION}:peers", "").bags[APPLICATION]
    record = json.loads(bag["record"])
    record["policies_seen_at"] -= policies.READ_EVERY_SECONDS
    bag["record"] = json.dumps(record)


def test_backups_are_made_as_the_option_says_and_what_others_set_is_told_and_left() -> None:
    with rig.stage_without_cluster(backup="true") as stage:
        stage.model.update_status(APPLICATION)
        assert backup(stage) == "ENABLED"
        assert "PutBackupPolicy" not in stage.writes(), "it was made so"
        stage.model.config(APPLICATION, {"backup": "false"})
        stage.model.update_status(APPLICATION)
        assert backup(stage) == "DISABLED"

        (made,) = stage.cloud.file_systems()
        by_hand = {"FileSystemId": made.id, "BackupPolicy": {"Status": "ENABLED"}}
        rig.administrator(stage, "efs").put_backup_policy(**by_hand)
        let_an_hour_pass(stage)
        stage.cloud.reset_calls()
        for _ in range(3):
            stage.model.update_status(APPLICATION)
            told = stage.status().message
            assert told.startswith("others set backup to true: set the option to it, or run setup")
        assert calls(stage.cloud, READS, WRITES) == ["DescribeBackupPolicy"]
        stage.model.config(APPLICATION, {"backup": ""})
        stage.model.update_status(APPLICATION)
        assert "backup" not in stage.status().message
        assert backup(stage) == "ENABLED"
        stage.model.config(APPLICATION, {"backup": "false"})
        assert backup(stage) in ("DISABLING", "DISABLED")


def test_setup_undoes_what_others_set() -> None:
    with rig.stage_without_cluster(backup="true") as stage:
        (made,) = stage.cloud.file_systems()
        by_hand = {"FileSystemId": made.id, "BackupPolicy": {"Status": "DISABLED"}}
        rig.administrator(stage, "efs").put_backup_policy(**by_hand)
        let_an_hour_pass(stage)
        stage.model.update_status(APPLICATION)
        assert "others set backup to false" in stage.status().message
        stage.run("setup")
        stage.model.update_status(APPLICATION)
        assert backup(stage) == "ENABLED"
        assert "others" not in stage.status().message


def test_policies_are_read_at_most_once_an_hour(cloud: sandbox_aws.Cloud) -> None:
    wanted = BOTH
    machines = rig.workers(cloud, *rig.ZONES)
    first = rig.reconciled(cloud, rig.make_desired(*machines, policies=wanted))
    record = rig.recorded(first)
    assert abs(record.policies_seen_at - time.time()) < policies.READ_EVERY_SECONDS
    for seconds, reads in ((0, 8), (3500, 8), (3700, 8 + len(wanted)), (-60, 8 + len(wanted))):
        known = dataclasses.replace(record, policies_seen_at=record.policies_seen_at - seconds)
        cloud.reset_calls()
        rig.reconciled(cloud, rig.make_desired(*machines, policies=wanted, record=known))
        assert cloud.counts() == (reads, 0), seconds


def test_without_the_options_no_call_is_added_whatever_is_on_record(
    cloud: sandbox_aws.Cloud,
) -> None:
    for name in (*READS, *WRITES):
        cloud.deny(name)
    record = resources.ResourceRecord(policies_set=BOTH, policies_seen_at=1)
    outcome = rig.reconciled(cloud, rig.make_desired(record=record))
    assert outcome.problems == ()
    assert calls(cloud, READS, WRITES) == []
    assert rig.recorded(outcome).policies_set == {}


def test_a_file_system_that_is_adopted_keeps_its_policies(cloud: sandbox_aws.Cloud) -> None:
    theirs = rig.make_file_system(cloud, *rig.ZONES)
    told: list[str] = []
    record = resources.ResourceRecord(theirs, adopted=True, policies_set=BOTH)
    for known in (None, record):
        desired = rig.make_desired(option=theirs, policies=BOTH, record=known)
        assert rig.reconciled(cloud, desired, told=told).problems == ()
    assert calls(cloud, READS, WRITES) == []
    assert told == []


@pytest.mark.parametrize("action", sorted(READS | WRITES))
def test_a_missing_permission_is_named_with_its_option_and_stops_nothing_else(
    cloud: sandbox_aws.Cloud, action: str
) -> None:
    option = "backup" if "Backup" in action else "lifecycle"
    machines = rig.workers(cloud, *rig.ZONES)
    rig.reconciled(cloud, rig.make_desired())
    cloud.deny(action)
    outcome = rig.reconciled(cloud, rig.make_desired(*machines, policies=BOTH))
    assert rig.message(outcome) == (
        f"option {option}: AWS denies elasticfilesystem:{action}: grant it to the charm's "
        "credentials"
    )
    assert outcome.zones == rig.ZONES
    other = {name: words for name, words in BOTH.items() if name != option}
    assert outcome.policies_set == other, "the other option is applied"
    cloud.allow(action)
    desired = rig.make_desired(*machines, policies=BOTH, record=rig.recorded(outcome))
    after = rig.reconciled(cloud, desired)
    assert after.problems == ()
    assert after.policies_set == BOTH


def test_a_policy_that_aws_is_changing_is_waited_for_by_later_hooks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with rig.started(monkeypatch, SLOW) as cloud:
        rig.reconciled(cloud, rig.make_desired())
        outcome = None
        for wanted, seen in (("true", "enabling"), ("false", "enabling"), ("true", "enabling")):
            record = outcome and rig.recorded(outcome)
            desired = rig.make_desired(policies={"backup": wanted}, record=record)
            outcome = rig.reconciled(cloud, desired)
            assert outcome.policies.seen == {"backup": seen}
            assert (outcome.problems, outcome.policies_set) == ((), {})
        assert calls(cloud, WRITES) == ["PutBackupPolicy"]
        cloud.skip(61)
        assert outcome
        record = rig.recorded(outcome)
        last = rig.reconciled(cloud, rig.make_desired(policies={"backup": "true"}, record=record))
        assert last.policies_set == last.policies.seen == {"backup": "true"}


@pytest.mark.parametrize(
    ("operation", "code", "status"),
    [
        ("DescribeBackupPolicy", "PolicyNotFound", 404),  # it never shows what was put
        ("PutBackupPolicy", "IncorrectFileSystemLifeCycleState", 409),
        ("PutBackupPolicy", "InternalServerError", 500),
        ("PutLifecycleConfiguration", "IncorrectFileSystemLifeCycleState", 409),
        ("DescribeBackupPolicy", "InternalServerError", 500),
    ],
)
def test_a_policy_that_aws_does_not_take_now_stops_nothing_else(
    cloud: sandbox_aws.Cloud, operation: str, code: str, status: int
) -> None:
    rig.reconciled(cloud, rig.make_desired())
    cloud.fail(operation, code, status=status, times=50)
    machines = rig.workers(cloud, *rig.ZONES)
    outcome: file_system.FileSystemOutcome = rig.reconciled(
        cloud, rig.make_desired(*machines, policies=BOTH)
    )
    (problem,) = outcome.problems
    assert isinstance(problem, problems.Waiting)
    assert outcome.zones == rig.ZONES
    assert len(outcome.policies_set) == 1, "the other option is applied"


def test_what_others_are_changing_just_now_is_read_again_and_told_when_it_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with rig.started(monkeypatch, SLOW) as cloud:
        outcome = rig.reconciled(cloud, rig.make_desired())
        record = dataclasses.replace(
            rig.recorded(outcome),
            policies_set={"backup": "true"},
            policies_seen={"backup": "disabling"},
            policies_seen_at=int(time.time()),
        )
        told: list[str] = []
        desired = rig.make_desired(policies={"backup": "true"}, record=record)
        rig.reconciled(cloud, desired, told=told)
        assert told == [
            "others set backup to false: set the option to it, or run setup to undo it"
        ]
        assert calls(cloud, READS, WRITES) == ["DescribeBackupPolicy"]


def test_a_lost_reply_is_looked_after(cloud: sandbox_aws.Cloud) -> None:
    rig.reconciled(cloud, rig.make_desired())
    cloud.lose_reply("PutBackupPolicy", times=2)
    outcome = rig.reconciled(cloud, rig.make_desired(policies={"backup": "true"}))
    assert outcome.problems == ()
    assert outcome.policies_set == {"backup": "true"}


def test_throughput_and_policies_change_in_one_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    with rig.started(monkeypatch, sandbox_aws.Latencies.real().scaled(0.02)) as cloud:
        rig.reconciled(cloud, rig.make_desired(throughput_mode="bursting"))
        outcome = rig.reconciled(cloud, rig.make_desired(policies=BOTH))
        assert outcome.problems == ()
        assert set(calls(cloud, WRITES)) == WRITES
        assert outcome.throughput == "elastic"
        assert outcome.policies.seen["lifecycle"] == BOTH["lifecycle"]


def test_archive_waits_for_elastic_throughput_which_aws_may_refuse_for_a_day(
    cloud: sandbox_aws.Cloud,
) -> None:
    rig.reconciled(cloud, rig.make_desired(throughput_mode="bursting"))
    cloud.fail("UpdateFileSystem", "TooManyRequests", status=429, times=20)
    outcome = rig.reconciled(cloud, rig.make_desired(policies=BOTH))
    throughput, archive = (problem.message for problem in outcome.problems)
    assert "24 hours" in throughput
    assert archive.startswith("option lifecycle: archive needs elastic throughput, fs-")
    assert len(archive) <= 120
    assert calls(cloud, WRITES) == ["PutBackupPolicy"]
    assert outcome.policies_set == {"backup": "true"}


def lifecycle(stage: Stage) -> list[dict[str, str]]:
    """Return the lifecycle policies as the owner of the account sees them."""
    (made,) = stage.cloud.file_systems()
    efs = rig.administrator(stage, "efs")
    return efs.describe_lifecycle_configuration(FileSystemId=made.id)["LifecyclePolicies"]


def test_files_move_as_the_option_says_and_what_others_set_is_told_and_left() -> None:
    with rig.stage_without_cluster(lifecycle="back=on-access  ia=1d archive=90d") as stage:
        assert lifecycle(stage) == [
            {"TransitionToIA": "AFTER_1_DAY"},
            {"TransitionToArchive": "AFTER_90_DAYS"},
            {"TransitionToPrimaryStorageClass": "AFTER_1_ACCESS"},
        ]
        stage.cloud.reset_calls()
        stage.model.config(APPLICATION, {"lifecycle": "ia=1d archive=90d back=on-access"})
        assert calls(stage.cloud, READS, WRITES) == [], "it is the same in another order"
        stage.model.config(APPLICATION, {"lifecycle": "none"})
        assert lifecycle(stage) == []

        (made,) = stage.cloud.file_systems()
        by_hand = [{"TransitionToIA": "AFTER_30_DAYS"}, {"TransitionToArchive": "AFTER_365_DAYS"}]
        rig.administrator(stage, "efs").put_lifecycle_configuration(
            FileSystemId=made.id, LifecyclePolicies=by_hand
        )
        let_an_hour_pass(stage)
        stage.model.update_status(APPLICATION)
        told = stage.status().message
        assert told.startswith(
            "others set lifecycle to ia=30d archive=365d: set the option to it, or run setup to"
        )
        stage.model.config(APPLICATION, {"lifecycle": ""})
        assert lifecycle(stage) == by_hand
        assert "lifecycle" not in stage.status().message
        stage.model.config(APPLICATION, {"lifecycle": "ia=30d archive=14d"})
        refused = stage.status()
        assert refused.name == "blocked"
        assert refused.message == (
            "lifecycle archive=14d is not later than ia=30d: raise it, or lower ia (juju config)"
        )
        assert lifecycle(stage) == by_hand
