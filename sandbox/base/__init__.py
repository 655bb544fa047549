"""Processes, ports, scratch directories, certificates and HTTP, for every other room."""
