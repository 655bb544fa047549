"""Find the endpoints of a relation by the user's words, and refuse relations that Juju refuses."""

from __future__ import annotations

import itertools

from sandbox.juju import charm_files, model_state

_IMPLICIT = charm_files.Endpoint("juju-info", "provides", "juju-info")


def match(
    world: model_state.World, one: str, another: str
) -> tuple[model_state.RelationEnd, model_state.RelationEnd]:
    """Return the only matching pair of endpoints, the requirer first.

    Args:
        world: The model.
        one: "application" or "application:endpoint".
        another: The other end, in the same form.
    """
    pairs = [
        (mine, theirs)
        for mine, theirs in itertools.product(_candidates(world, one), _candidates(world, another))
        if mine[1].interface == theirs[1].interface
        and {mine[1].role, theirs[1].role} == {"provides", "requires"}
    ]
    # Juju uses the implicit endpoint only if no declared one matches.
    declared = [pair for pair in pairs if not any(end[1] is _IMPLICIT for end in pair)]
    pairs = declared or pairs
    if not pairs:
        raise charm_files.JujuError(f'no relations found for "{one} {another}"')
    if len(pairs) > 1:
        fits = "; ".join(
            f'"{mine[0]}:{mine[1].name} {theirs[0]}:{theirs[1].name}"' for mine, theirs in pairs
        )
        raise charm_files.JujuError(f'ambiguous relation: "{one} {another}" could refer to {fits}')
    requirer, provider = sorted(pairs[0], key=lambda end: end[1].role == "provides")
    ends = (
        model_state.RelationEnd(requirer[0], requirer[1].name),
        model_state.RelationEnd(provider[0], provider[1].name),
    )
    _check_limit(world, ends, requirer[1].limit)
    return ends


def find(world: model_state.World, one: str, another: str = "") -> model_state.Relation:
    """Return the relation with these ends, or the only relation with one end."""
    matches = [
        relation
        for relation in world.relations.values()
        if not relation.dying
        and any(_is(end, one) for end in relation.ends)
        and (not another or any(_is(end, another) for end in relation.ends))
    ]
    if not matches:
        raise charm_files.JujuError(f'relation "{one} {another}" not found')
    if len(matches) > 1:
        raise charm_files.JujuError(f'"{one}" has several relations: name the other end')
    return matches[0]


def _candidates(world: model_state.World, text: str) -> list[tuple[str, charm_files.Endpoint]]:
    """Return the endpoints that "application" or "application:endpoint" may mean."""
    name, _, endpoint = text.partition(":")
    declared = world.application(name).metadata.endpoints()
    return [
        (name, each)
        for each in (*declared, _IMPLICIT)
        if each.role != "peers" and endpoint in {"", each.name}
    ]


def _check_limit(
    world: model_state.World,
    ends: tuple[model_state.RelationEnd, model_state.RelationEnd],
    limit: int,
) -> None:
    """Refuse a relation that exists, or that exceeds the requirer's limit."""
    name = f"{ends[0].application}:{ends[0].endpoint} {ends[1].application}:{ends[1].endpoint}"
    existing = [each for each in world.relations.values() if ends[0] in each.ends]
    if any(ends[1] in each.ends for each in existing):
        raise charm_files.JujuError(
            f'cannot add relation "{name}": relation {name} already exists'
        )
    if limit and len(existing) >= limit:
        raise charm_files.JujuError(
            f'cannot add relation "{name}": establishing a new relation for'
            f" {ends[0].application}:{ends[0].endpoint} would exceed its maximum relation limit"
            f" of {limit}"
        )


def _is(end: model_state.RelationEnd, text: str) -> bool:
    """Return whether "application" or "application:endpoint" names this end."""
    name, _, endpoint = text.partition(":")
    return end.application == name and endpoint in {"", end.endpoint}
