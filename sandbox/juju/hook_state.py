"""What of a model a unit's hook sees, as a State, and what the State that comes back changes.

A State can express neither a change of an application's databag alone nor that the unit itself is
the one that departs: a charm must not need event.unit or departing_unit to be right there.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Any

import ops
from ops import testing

from sandbox.juju import model_secrets, model_state


def project(
    world: model_state.World, unit: model_state.Unit, event: model_state.Event
) -> testing.State:
    """Make the state that a unit's charm sees while an event's hook runs."""
    application = world.applications[unit.application]
    relations = [
        _relation_seen(world.relations[id_], unit, event)
        for id_ in unit.joined
        if application.declares(world.relations[id_].end(unit.application).endpoint)
    ]
    return testing.State(
        config=application.config,
        relations=relations,
        networks=_networks(application, unit.instance.private_address),
        leader=application.leader == unit.name,
        model=testing.Model(world.name, uuid=world.uuid, type="lxd", cloud_spec=world.cloud_spec),
        secrets=model_secrets.seen(world.secrets.values(), unit.name, unit.joined),
        planned_units=sum(not each.dying for each in application.units.values()),
        opened_ports=unit.ports,
        stored_states=unit.stored,
        deferred=unit.deferred,
        unit_status=ops.StatusBase.from_name(unit.status.name, unit.status.message),
        app_status=ops.StatusBase.from_name(application.status.name, application.status.message),
        workload_version=unit.workload_version,
    )


def absorb(
    world: model_state.World, unit: model_state.Unit, state: testing.State, read: Iterable[str]
) -> list[tuple[str, model_state.Event]]:
    """Take what a hook that ended well has written.

    Args:
        world: The model.
        unit: The unit whose hook it was.
        state: The state that came out of it.
        read: The secrets that it has read.

    Returns:
        The hooks that Juju owes others for it: the unit's name, and the event.
    """
    application = world.applications[unit.application]
    unit.status, unit.ports = _status(state.unit_status), state.opened_ports
    unit.stored, unit.deferred = state.stored_states, tuple(state.deferred)
    unit.workload_version = state.workload_version
    owed: list[tuple[str, model_state.Event]] = []
    for seen in state.relations:
        relation = world.relations[seen.id]
        written = {unit.name: seen.local_unit_data}
        if application.leader == unit.name:
            written[application.name] = seen.local_app_data
        for writer, data in written.items():
            if data != relation.bag(writer):
                relation.bags[writer] = dict(data)
                owed += _told_of(world, relation, unit, writer)
    if application.leader == unit.name:
        application.status = _status(state.app_status)
    told = model_secrets.absorb(world.secrets, state.secrets, unit.name, read)
    return owed + [(name, model_state.Event("secret-changed", secret=id_)) for name, id_ in told]


def _relation_seen(
    relation: model_state.Relation, unit: model_state.Unit, event: model_state.Event
) -> testing.RelationBase:
    """Make the view that a unit has of a relation."""
    remote_names: Set[str] = unit.joined[relation.id]
    if event.kind == "relation-departed" and event.relation == relation.id:
        # The one that goes is no member any more, yet its data can be read: ops counts it in, too.
        remote_names = remote_names | {event.remote}
    remotes = {
        int(name.partition("/")[2]): dict(relation.bag(name)) for name in sorted(remote_names)
    }
    endpoint = relation.end(unit.application).endpoint
    own, app = dict(relation.bag(unit.name)), dict(relation.bag(unit.application))
    if len(relation.ends) == 1:
        return testing.PeerRelation(
            endpoint, id=relation.id, local_app_data=app, local_unit_data=own, peers_data=remotes
        )
    other = relation.other(unit.application)
    return testing.Relation(
        endpoint,
        id=relation.id,
        remote_app_name=other.application,
        local_app_data=app,
        local_unit_data=own,
        remote_app_data=dict(relation.bag(other.application)),
        remote_units_data=remotes,
    )


def _networks(application: model_state.Application, address: str) -> list[testing.Network]:
    """Bind every end point to the machine's one address."""
    return [
        testing.Network(
            endpoint.name,
            [testing.BindAddress([testing.Address(address)], interface_name="ens5")],
            ingress_addresses=[address],
            egress_subnets=[f"{address}/32"],
        )
        for endpoint in application.metadata.endpoints()
    ]


def _status(status: Any) -> model_state.Status:
    """Keep a status, which scenario has a private class for."""
    return model_state.Status(status.name, status.message)


def _told_of(
    world: model_state.World, relation: model_state.Relation, unit: model_state.Unit, writer: str
) -> list[tuple[str, model_state.Event]]:
    """Who must be told that a databag has changed: the units that have joined its writer."""
    owed: list[tuple[str, model_state.Event]] = []
    for other in world.others(relation, unit):
        known = other.joined[relation.id]
        # Juju names no unit when an application's databag changes, which scenario cannot express.
        remote = unit.name if unit.name in known else min(known, default="")
        if remote and writer in {unit.application, remote}:
            owed.append((other.name, model_state.Event("relation-changed", relation.id, remote)))
    return owed
