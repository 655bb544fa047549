"""Shared by every room: child processes, loopback ports, scratch directories, certificates, HTTP."""
