"""Read and write relation data. Besides these modules only the charm imports ops."""
