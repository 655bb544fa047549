"""What the application does, in the order in which it does it: both halves, Jobs and data sets.

It imports no ops.
"""
