"""The Kubernetes half: volumes, claims and Jobs. It does not know Juju or AWS."""
