"""Choose the contestants of a case: what a user would run, the ideal program, the loader."""

from __future__ import annotations

from benchmarks import contestants
from datasets import protocol

COPY = (
    "cd {local}/tree && find . -mindepth 1 -type d -printf '%d %p\\0' | sort -zn | cut -zd' ' -f2-"
    " | (cd {mount} && xargs -0r mkdir -p)"
    " && find . -type f -print0 | xargs -0r -P32 -n50 cp --parents -t {mount}"
)
TAR_FLAGS = {"tar": "xf", "tar.gz": "xzf"}


def for_tree(archive: str) -> list[contestants.Contestant]:
    """Return the contestants that unpack an archive."""
    if archive == "zip":
        fetch = "curl -sfo {local}/zip {url}"
        return [
            contestants.Rival(
                "curl, unzip",
                f"{fetch}; unzip -q {{local}}/zip -d {{mount}}",
                needs=["unzip"],
                once=True,
            ),
            contestants.Rival(
                "curl, unzip to the local disk, 32 parallel cp",
                f"{fetch}; unzip -q {{local}}/zip -d {{local}}/tree; {COPY}",
                needs=["unzip"],
            ),
            contestants.IdealWriter(),
            contestants.OurLoader(),
        ]
    flags = TAR_FLAGS[archive]
    return [
        contestants.Rival(
            "curl | tar x", f"curl -sf {{url}} | tar {flags} - -C {{mount}}", once=True
        ),
        contestants.Rival(
            "curl | tar x to the local disk, 32 parallel cp",
            f"curl -sf {{url}} | tar {flags} - -C {{local}}/tree; {COPY}",
        ),
        contestants.IdealWriter(),
        contestants.OurLoader(),
    ]


def for_archives() -> list[contestants.Contestant]:
    """Return the contestants that unpack an archive of archives."""
    unpack = "mkdir {mount}/$1 && tar xf $1.tar -C {mount}/$1"
    return [
        contestants.Rival(
            "outer tar on the local disk, 32 parallel tar x",
            "curl -sf {url} | tar xf - -C {local}/tree; cd {local}/tree; ls | sed 's/.tar$//'"
            f" | xargs -P32 -n1 bash -c '{unpack}' -",
        ),
        contestants.IdealWriter(),
        contestants.OurLoader(unpack="recursive"),
    ]


def for_file() -> list[contestants.Contestant]:
    """Return the contestants that fetch one file over many connections."""
    aria = "aria2c -q -x16 -s16 -k1M --file-allocation={0} -d {{mount}} -o {{name}} {{url}}"
    rclone = (
        "rclone copyto :http:{name} {mount}/{name} --http-url {base}"
        " --multi-thread-streams 16 --multi-thread-cutoff 16M"
    )
    none = aria.format("none")
    return [
        contestants.Rival("aria2c -x16, no preallocation", none, needs=["aria2c"]),
        contestants.Rival("aria2c -x16, preallocation", aria.format("prealloc"), needs=["aria2c"]),
        contestants.Rival("rclone, 16 streams", rclone, needs=["rclone"]),
        contestants.Rival(
            "rclone, 16 streams, then sha256sum",
            f"{rclone}; sha256sum {{mount}}/{{name}}",
            needs=["rclone"],
        ),
        *_single_commands(),
    ]


def for_plain_file() -> list[contestants.Contestant]:
    """Return the contestants that fetch one file without a limit; one also computes a checksum."""
    hashed = "curl -sf {url} | tee {mount}/{name} | sha256sum"
    return [contestants.Rival("curl | tee, sha256sum", hashed), *_single_commands()]


def _single_commands() -> list[contestants.Contestant]:
    return [
        contestants.Rival("curl -o", "curl -sfo {mount}/{name} {url}"),
        contestants.OurLoader(),
        contestants.OurLoader(f"{contestants.OURS}, checksum given", checked=True),
        contestants.OurLoader(contestants.UNHASHED, change=contestants.UNHASHED_CHANGE),
    ]


def for_pods(unpack: str, once: int = 0) -> list[contestants.Contestant]:
    """Return the loader with one to eight pods on as many nodes; `once` of them take minutes."""
    return [
        contestants.OurLoader(_pods(count), nodes=range(count), unpack=unpack, once=count <= once)
        for count in (1, 2, 4, 8)
    ]


def for_one_node(unpack: str) -> list[contestants.Contestant]:
    """Return the loader with one to four pods that share a node."""
    return [
        contestants.OurLoader(_pods(count), nodes=[0] * count, unpack=unpack)
        for count in (1, 2, 4)
    ]


def _pods(count: int) -> str:
    return f"{count} pod{'s' * (count > 1)}"


def for_verification() -> list[contestants.Contestant]:
    """Return the ideal reader, and the loader that verifies."""
    return [
        contestants.IdealWalker(contestants.IDEAL_READER),
        contestants.OurVerb(verb=protocol.VERIFY),
    ]


def for_removal() -> list[contestants.Contestant]:
    """Return the ideal remover, and the loader that deletes."""
    return [
        contestants.IdealWalker(contestants.IDEAL_REMOVER, verb="remove"),
        contestants.OurVerb(verb=protocol.DELETE),
    ]
