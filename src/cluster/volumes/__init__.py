"""The storage class, volumes and claims: observed, planned, applied, removed."""
