"""The application: reconcile, teardown and data set actions, without ops."""
