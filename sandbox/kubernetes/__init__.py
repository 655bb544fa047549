"""A real Kubernetes control plane on loopback, and its build from source."""
