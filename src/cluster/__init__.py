"""The Kubernetes half: volumes, claims and Jobs. It knows neither Juju nor AWS."""
