"""The names that the charm and the loader share.

Standard library only, Python 3.9 or newer: it is shipped to the pods together with the loader.
"""

from __future__ import annotations

# --- the task of a pod

# The environment variable that holds the task.
TASK = "AWS_EFS_DATASET"
# The environment variable that Kubernetes sets to the pod's index in its Job.
INDEX = "JOB_COMPLETION_INDEX"
# The environment variable that names another file for the termination message.
TERMINATION_LOG = "TERMINATION_LOG"
DEFAULT_TERMINATION_LOG = "/dev/termination-log"
# The environment variable that allows origins in further networks, separated by commas: for tests
# and the sandbox, whose origins are on loopback. The charm never sets it, and no parameter can.
ALLOWED_NETWORKS = "AWS_EFS_ALLOWED_NETWORKS"
# The verb is the loader's one argument; LOAD stands for no argument.
LOAD = ""
PREPARE, VERIFY, DELETE, INVENTORY = "prepare", "verify", "delete", "inventory"
VERSIONS, ROLLBACK = "versions", "rollback"
# The default mode of a data set's files: everybody can read them.
PLAIN_MODE = "0644"

# The formats that a source can be required to have; tar stands for all of them.
ARCHIVE_FORMATS = ("zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst", "tar.lzma")

# --- the states in a pod's log and termination message

# A load in progress.
PREPARING, TRANSFERRING, VERIFYING = "preparing", "transferring", "verifying"
STARTING_OVER = "starting over"
# The end of a load, in the pod that published it and in all other pods.
PUBLISHED, DONE = "published", "done"
DELETING, DELETED = "deleting", "deleted"
VERIFIED, ROLLED_BACK = "verified", "rolled back"
# An inventory: one line for each data set, or for each version of one, then their number.
LISTED, INVENTORIED = "listed", "inventoried"
# A data set in an inventory is published or unfinished; a version is published, or kept for those
# who still read it.
UNFINISHED, KEPT = "unfinished", "kept"
FAILED = "failed"

# --- annotations and labels of a data set's Job

DATASET_ANNOTATION = "aws-efs/dataset"
FINGERPRINT_ANNOTATION = "aws-efs/fingerprint"
REQUEST_ANNOTATION = "aws-efs/request"
SOURCE_ANNOTATION = "aws-efs/source"
# The version that a rollback was asked for; none for the one before.
VERSION_ANNOTATION = "aws-efs/version"
# The label of a Job whose result is in the index.
NOTED_LABEL = "aws-efs/noted"
# The label of a rollback's Job whose result the action has reported.
REPORTED_LABEL = "aws-efs/reported"

# --- checksums

# The number of hex digits by algorithm, the strongest default first.
DIGEST_DIGITS = {"sha256": 64, "sha512": 128, "md5": 32}

# --- credentials

ACCESS_KEY, SECRET_KEY, SESSION_TOKEN = "access-key", "secret-key", "session-token"
# The key of a token of the Hub, or for the hosts of web sources, which may need a header instead:
# its value is `Name: value`.
HEADER = "header"
TOKEN = "token"  # noqa: S105 - its name
