"""Processes, ports, scratch directories, certificates and HTTP servers for all other rooms."""
