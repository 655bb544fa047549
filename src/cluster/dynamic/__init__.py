"""Volumes that a provisioner in the cluster makes when claims of a class ask for them."""
