"""The program that runs in the pod and loads one data set onto the volume.

Standard library only, any Python >= 3.9. It knows nothing of the charm, Juju, Kubernetes or AWS:
its task is in the environment, its result goes to the termination message.
"""

from __future__ import annotations
