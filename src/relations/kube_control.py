"""Read what the control plane's units published, with kube-control's own library.

The library and pydantic are most of the cost of a hook that speaks to no API: only a hook that
needs the cluster imports this module.
"""

from __future__ import annotations

import functools
import logging

from ops.interface_kube_control import model, requires

# The library logs values that it could not parse, and these may contain a token.
logging.getLogger("KubeControlRequirer").setLevel(logging.CRITICAL)


class Requirer(requires.KubeControlRequirer):
    """The library's requirer with another way to merge the data of the provider's units.

    The library takes the values of the last unit of an unordered set, but a unit that is not the
    leader may publish an empty `creds`.
    """

    @functools.cached_property
    def _data(self) -> model.Data:
        merged: dict[str, str] = {}
        if relation := self.relation:
            for unit in sorted(relation.units, key=lambda unit: unit.name):
                merged.update({k: v for k, v in relation.data[unit].items() if v})
        if not merged:
            raise requires.RelationNotReady("no unit has published data yet")
        return model.Data.model_validate(merged)
