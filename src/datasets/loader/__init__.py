"""The program that runs in the pod and puts one data set on the volume.

Standard library only, any Python >= 3.9. It knows nothing of the charm, Juju, Kubernetes or AWS:
its task comes in the environment, its answer goes to the termination message.
"""

from __future__ import annotations
