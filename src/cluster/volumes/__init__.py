"""The storage class, the volumes and their claims: observed, planned, applied, removed."""
