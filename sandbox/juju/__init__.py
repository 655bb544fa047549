"""Juju: a model whose charms run for real, in this process, on ops-scenario."""
