"""Convert a model to the State that a unit's hook sees, and apply the State that it returns.

A State cannot express a change of an application's databag alone, nor that the unit itself
departs: a charm must not rely on event.unit or departing_unit in these cases.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Any

import ops
from ops import testing

from sandbox.juju import model_secrets, model_state


def build_state(
    world: model_state.World, unit: model_state.Unit, event: model_state.Event
) -> testing.State:
    """Return the state that a unit's charm sees while an event's hook runs."""
    application = world.applications[unit.application]
    relations = [
        _relation_view(world.relations[id_], unit, event)
        for id_ in unit.joined
        if application.declares(world.relations[id_].end(unit.application).endpoint)
    ]
    return testing.State(
        config=application.config,
        relations=relations,
        networks=_networks(application, unit.instance.private_address),
        leader=application.leader == unit.name,
        model=testing.Model(world.name, uuid=world.uuid, type="lxd", cloud_spec=world.cloud_spec),
        secrets=model_secrets.views(world.secrets.values(), unit.name, unit.joined),
        planned_units=sum(not each.dying for each in application.units.values()),
        opened_ports=unit.ports,
        stored_states=unit.stored,
        deferred=unit.deferred,
        unit_status=ops.StatusBase.from_name(unit.status.name, unit.status.message),
        app_status=ops.StatusBase.from_name(application.status.name, application.status.message),
        workload_version=unit.workload_version,
    )


def apply_state(
    world: model_state.World, unit: model_state.Unit, state: testing.State, read: Iterable[str]
) -> list[tuple[str, model_state.Event]]:
    """Apply the writes of a successful hook to the model.

    Args:
        world: The model.
        unit: The unit of the hook.
        state: The state that the hook returned.
        read: The secrets that the hook read.

    Returns:
        The resulting hooks of other units: the unit's name and the event.
    """
    application = world.applications[unit.application]
    unit.status, unit.ports = _status(state.unit_status), state.opened_ports
    unit.stored, unit.deferred = state.stored_states, tuple(state.deferred)
    unit.workload_version = state.workload_version
    hooks: list[tuple[str, model_state.Event]] = []
    for view in state.relations:
        relation = world.relations[view.id]
        written = {unit.name: view.local_unit_data}
        if application.leader == unit.name:
            written[application.name] = view.local_app_data
        for writer, data in written.items():
            if data != relation.bag(writer):
                relation.bags[writer] = dict(data)
                hooks += _changed_hooks(world, relation, unit, writer)
    if application.leader == unit.name:
        application.status = _status(state.app_status)
    readers = model_secrets.apply_changes(world.secrets, state.secrets, unit.name, read)
    changed = [(name, model_state.Event("secret-changed", secret=id_)) for name, id_ in readers]
    return hooks + changed


def _relation_view(
    relation: model_state.Relation, unit: model_state.Unit, event: model_state.Event
) -> testing.RelationBase:
    """Return a relation as a unit sees it."""
    remote_names: Set[str] = unit.joined[relation.id]
    if event.kind == "relation-departed" and event.relation == relation.id:
        # The departing unit is no longer a member, but its data can still be read: ops adds it.
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
    """Bind every endpoint to the machine's only address."""
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
    """Convert a status of scenario's private class."""
    return model_state.Status(status.name, status.message)


def _changed_hooks(
    world: model_state.World, relation: model_state.Relation, unit: model_state.Unit, writer: str
) -> list[tuple[str, model_state.Event]]:
    """Return the relation-changed hooks of all units that have joined a databag's writer."""
    hooks: list[tuple[str, model_state.Event]] = []
    for other in world.others(relation, unit):
        known = other.joined[relation.id]
        # For an application's databag Juju names no unit, which scenario cannot express.
        remote = unit.name if unit.name in known else min(known, default="")
        if remote and writer in {unit.application, remote}:
            hooks.append((other.name, model_state.Event("relation-changed", relation.id, remote)))
    return hooks
