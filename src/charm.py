#!/usr/bin/env python3
"""The charm: handle each Juju event with a reconcile or an action, and set the status."""

from __future__ import annotations

import dataclasses
import functools
import logging
import pathlib
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ops
import ops.log

import identity
import log_batch
import messages
import problems
from relations import cloud, control_plane, filesystem, peers, workers

if TYPE_CHECKING:
    import action_params
    import config
    import polling
    from app import reconcile

# A hook that has nothing to ask of AWS, the cluster or the user's options imports neither their
# clients nor pydantic: these cost more than the rest of it. So they are imported where they are
# asked. tests/packing/test_hook_imports.py shows what each kind of hook imports.

logger = logging.getLogger(__name__)

# ops starts a juju-log process for each log record of each library, and botocore's DEBUG records
# contain request headers and bodies, with credentials.
for _library in ("botocore", "urllib3", "lightkube", "httpx2", "httpcore2", "hpack"):
    logging.getLogger(_library).setLevel(logging.WARNING)

# The time that a hook waits for AWS. Then it reports Waiting, and the next event continues.
AWS_TIMEOUT_SECONDS = 180
# An action may take longer, since the user waits for it: `juju run --wait` limits that.
TEARDOWN_TIMEOUT_SECONDS = 900

# The other actions are the leader's: they change something, or ask the cluster.
ACTIONS_OF_ANY_UNIT = {"diagnose", "show-mount"}

Results = dict[str, str]


class AwsEfsCharm(ops.CharmBase):
    """A charm that provides one shared, proven EFS volume for the related cluster."""

    def __init__(self, framework: ops.Framework) -> None:
        super().__init__(framework)
        self._log = log_batch.LogBatch(
            [
                each
                for each in logging.getLogger().handlers
                if isinstance(each, ops.log.JujuLogHandler)
            ]
        )
        self._control_plane = control_plane.ControlPlane(self)
        self._cloud = cloud.JujuCloud(self)
        self._statuses: list[ops.StatusBase] = []
        self._notices: list[str] = []
        on = self.on
        changes = [on.install, on.leader_elected, on.config_changed, on.start, on.update_status]
        changes += [on.upgrade_charm, on.secret_changed, on[peers.ENDPOINT].relation_changed]
        endpoints = [control_plane.ENDPOINT, control_plane.CERTIFICATES]
        endpoints += [workers.ENDPOINT, filesystem.ENDPOINT]
        for endpoint in endpoints:
            relation = on[endpoint]
            changes += [relation.relation_created, relation.relation_joined]
            changes += [relation.relation_changed, relation.relation_departed]
            changes += [relation.relation_broken]
        for event in changes:
            framework.observe(event, self._on_change)
        for action in self.meta.actions:
            framework.observe(on[action].action, self._on_action)
        framework.observe(on.collect_unit_status, self._on_collect_unit_status)

    # --- the reconcile after each change

    def _on_change(self, event: ops.EventBase) -> None:
        self._log.hold()
        try:
            self._control_plane.request()
            if self.unit.is_leader():
                self._reconcile(installing=isinstance(event, ops.InstallEvent))
        except problems.Problem as problem:
            self._report(problem)
        except Exception as error:  # noqa: BLE001 - Juju would run the failed hook for ever
            self._report_bug(error)

    def _reconcile(self, *, installing: bool) -> None:
        if peers.load(self).torn_down:
            raise problems.Blocked(messages.torn_down(self.app.name))
        peers.announce_leader(self)
        # Before the peer relation there is only install. Without it later, as while the
        # application is being removed, nobody knows whether the file system was torn down.
        if not (installing or peers.exist(self)):
            raise problems.Waiting("waiting for Juju to create the peer relation")
        context = self._context()
        from app import reconcile

        # Juju shows a status only after the hook has ended. Install does not wait, so that the
        # user soon sees a status; the hooks that follow it do wait.
        timeout_seconds = 0 if installing else AWS_TIMEOUT_SECONDS
        outcome = reconcile.reconcile(context, timeout_seconds=timeout_seconds)
        if not self.unit.is_leader():
            return  # another unit became the leader meanwhile: Juju would refuse the writes
        if outcome.record.file_system_id:
            recorded = dataclasses.asdict(outcome.record)
            endpoint = outcome.endpoint or peers.load(self).endpoint
            record = peers.PeerRecord(region=context.aws.region, endpoint=endpoint, **recorded)
            peers.save(self, record)
        if outcome.manifests is not None:
            self._control_plane.publish(outcome.manifests)
        if outcome.server:
            filesystem.publish(self, outcome.server, outcome.unserved)
        if outcome.notes is not None:
            peers.save_notes(self, outcome.notes)
        for problem in outcome.problems:
            self._report(problem)
        if outcome.summary:
            self._statuses.append(ops.ActiveStatus(messages.shorten(outcome.summary)))

    # --- actions

    def _on_action(self, event: ops.ActionEvent) -> None:
        import pydantic

        import action_params
        import config

        self._log.hold()
        action = event.handle.kind.removesuffix("_action").replace("_", "-")
        handlers: dict[str, Callable[[Any, ops.ActionEvent], Results]] = {
            "diagnose": self._diagnose,
            "setup": self._setup,
            "show-mount": self._show_mount,
            "teardown": self._teardown,
        }
        try:
            params = action_params.ACTIONS[action](
                **{key.replace("-", "_"): event.params[key] for key in event.params}
            )
            if action not in ACTIONS_OF_ANY_UNIT and not self.unit.is_leader():
                raise problems.Blocked(
                    f"{self.unit.name} is not the leader: run it on {self.app.name}/leader"
                )
            results = handlers.get(action, self._data_set)(params, event)
            event.set_results(
                {name: messages.fit_result(value) for name, value in results.items()}
            )
        except pydantic.ValidationError as error:
            event.fail(problems.printable(config.format_error(error)))
        except problems.Problem as problem:
            event.fail(messages.describe_failure(problem))
        except Exception as error:  # noqa: BLE001 - Juju would show its traceback to the user
            event.fail(self._report_bug(error))

    def _data_set(self, params: action_params.DataSetParams, _event: ops.ActionEvent) -> Results:
        options, record = self._settings(), self._file_system()
        from app.datasets import actions
        from cluster import client

        access = self._control_plane.access(record.endpoint)
        with client.Cluster(access, self._owner, self._patience) as cluster:
            context = actions.ActionContext(
                cluster,
                record.file_system_id,
                options,
                cloud.proxy_environment(),
                self._cloud.secret,
            )
            return actions.run(context, params)

    def _diagnose(self, _params: action_params.DiagnoseParams, _event: ops.ActionEvent) -> Results:
        from app import diagnose

        about = {
            "charm": (pathlib.Path(__file__).parents[1] / "version").read_text().strip(),
            "juju": str(self.model.juju_version),
            "unit": self.unit.name,
            "status": f"{self.unit.status.name}: {self.unit.status.message}",
            "relations": ", ".join(
                f"{name} with {relation.app.name} ({len(relation.units)} units)"
                for name in sorted(self.meta.relations)
                for relation in self.model.relations[name]
            ),
            "record": str(peers.load(self)),
        }
        if not self.unit.is_leader():
            return diagnose.of_follower(about, dict(self.config), f"{self.app.name}/leader")
        return diagnose.report(
            about,
            dict(self.config),
            context=self._context,
            access=self._control_plane.access,
            owner=self._owner,
            patience=self._patience,
        )

    def _setup(self, _params: action_params.SetupParams, event: ops.ActionEvent) -> Results:
        from app import setup

        setup.prepare(self._context())
        peers.save(self, peers.PeerRecord())
        self._on_change(event)
        return {"file-system": peers.load(self).file_system_id or "none yet: see juju status"}

    def _show_mount(
        self, params: action_params.ShowMountParams, _event: ops.ActionEvent
    ) -> Results:
        options, record = self._settings(), self._file_system()
        from app import show_mount

        notes = peers.load_notes(self)
        pairs = (line.split() for line in notes.get("mount-targets", "").splitlines())
        targets = {pair[0]: pair[1] for pair in pairs if len(pair) == 2}
        commands = show_mount.instructions(
            record.file_system_id,
            record.region,
            options=options.mount_options,
            path=params.path,
            targets=targets if options.server == "address" else {},
        )
        return {**notes, **commands}

    def _teardown(self, params: action_params.TeardownParams, event: ops.ActionEvent) -> Results:
        from app import teardown

        context = self._context(tearing_down=True)

        def log(line: str) -> None:
            event.log(problems.printable(line))

        removed = teardown.run(context, params, log, self._report, TEARDOWN_TIMEOUT_SECONDS)
        lines = "\n".join(removed) or "nothing"
        if params.dry_run:
            return {"would-delete": lines}
        peers.save(self, peers.PeerRecord(region=context.aws.region, torn_down=True))
        self._control_plane.publish([])
        filesystem.withdraw(self)
        self._report(problems.Blocked(messages.torn_down(self.app.name)))
        return {"deleted": lines}

    # --- inputs from Juju

    @property
    def _owner(self) -> identity.Owner:
        return identity.Owner(model_uuid=self.model.uuid, application=self.app.name)

    @functools.cached_property
    def _patience(self) -> polling.Patience:
        """Return the time of this hook for late answers: all its clients share it."""
        import polling

        return polling.Patience()

    def _settings(self) -> config.Settings:
        import pydantic

        import config

        try:
            return self.load_config(config.Settings)
        except pydantic.ValidationError as error:
            raise problems.Blocked(f"{config.format_error(error)} (juju config)") from None

    def _file_system(self) -> peers.PeerRecord:
        record = peers.load(self)
        if record.torn_down or not record.file_system_id:
            raise problems.Blocked("there is no file system: see juju status")
        return record

    def _region(self, options: config.Settings, record: peers.PeerRecord) -> str:
        region = self._cloud.region(options.region)
        if record.file_system_id and record.region != region:
            raise problems.Blocked(
                f"region is {region} but {record.file_system_id} lives in {record.region}: "
                "set it back, or run teardown first"
            )
        return region

    def _context(self, *, tearing_down: bool = False) -> reconcile.Context:
        options, record = self._settings(), peers.load(self)
        if tearing_down:
            region = record.region or self._cloud.region(options.region)
        else:
            region = self._region(options, record)
        credentials = self._cloud.credentials(options.credentials)
        from app import reconcile
        from aws import resources, session

        related = self._control_plane.relation is not None
        endpoint = f"{self.app.name}:{control_plane.ENDPOINT}"
        return reconcile.Context(
            owner=self._owner,
            settings=options,
            aws=session.connect(region, credentials, cloud.proxies(), self._patience),
            access=functools.partial(self._control_plane.access, record.endpoint),
            record=resources.ResourceRecord(
                file_system_id=record.file_system_id,
                account_id=record.account_id,
                adopted=record.adopted,
                security_groups=record.security_groups,
                throughput=record.throughput,
                policies_set=record.policies_set,
                policies_seen=record.policies_seen,
                policies_seen_at=record.policies_seen_at,
            ),
            tell=self._tell,
            addresses=frozenset(
                {
                    *self._control_plane.addresses(),
                    *workers.addresses(self),
                    *filesystem.addresses(self),
                }
            ),
            clients=filesystem.clients(self),
            next_step="" if related else f"juju relate {endpoint} kubernetes-control-plane",
            patience=self._patience,
        )

    # --- status

    def _report(self, problem: problems.Problem) -> None:
        status = ops.BlockedStatus if isinstance(problem, problems.Blocked) else ops.WaitingStatus
        if len(problem.message) > messages.STATUS_LIMIT:
            logger.warning("%s", problem.message)
        self._statuses.append(status(messages.shorten(problem.message)))

    def _report_bug(self, error: Exception) -> str:
        """Log an error that nobody foresaw, and report it; return the message.

        The log gets its kind and its stack. Its own text may contain a secret.
        """
        stack = "".join(traceback.format_tb(error.__traceback__))
        logger.error("internal error: %s\n%s", type(error).__name__, stack)
        self._report(problems.Blocked(messages.INTERNAL_ERROR))
        return messages.INTERNAL_ERROR

    def _tell(self, notice: str) -> None:
        notice = problems.printable(notice)
        logger.warning("%s", notice)
        self._notices.append(notice)

    def _on_collect_unit_status(self, event: ops.CollectStatusEvent) -> None:
        self._log.hold()
        # Most actions observe nothing and add no status: Juju keeps the old one. A notice is shown
        # once, in front of whatever the status is.
        if not (self._statuses or self.unit.is_leader()):
            # Also after an action: the old status may be that of a former leader.
            self._statuses.append(ops.ActiveStatus("standby"))
        for status in self._statuses:
            if not self._notices:
                event.add_status(status)
                continue
            text = messages.shorten("; ".join([*self._notices, status.message]))
            event.add_status(ops.StatusBase.from_name(status.name, text))
        self._log.release()


if __name__ == "__main__":
    ops.main(AwsEfsCharm)
