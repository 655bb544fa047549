"""Juju: a model whose real charms run in this process on ops-scenario."""
