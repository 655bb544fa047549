"""Read the option lifecycle: when files move between the storage classes of EFS."""

from __future__ import annotations

from problems import quote

# The periods that EFS knows (LifecyclePolicy in its API reference).
DAYS = {f"{days}d": days for days in (1, 7, 14, 30, 60, 90, 180, 270, 365)}
NONE = "none"


def read(value: str) -> str:
    """Return the option in its one form: parts in the order ia, archive, back.

    Args:
        value: The option: parts in any order, `none`, or nothing.

    Raises:
        ValueError: EFS does not have that; the message shows what it has.
    """
    parts = value.split()
    if parts in ([], [NONE]):
        return "".join(parts)
    found: dict[str, str] = {}
    for part in parts:
        name, _, text = part.partition("=")
        if name in found:
            raise ValueError(f"{quote(name)} is set twice: set it once")
        if name in ("ia", "archive") and text not in DAYS:
            raise ValueError(f"{quote(part)}: use one of {', '.join(DAYS)}")
        if name not in ("ia", "archive") and part != "back=on-access":
            raise ValueError(f"{quote(part)}: use ia=30d, archive=90d and back=on-access, or none")
        found[name] = text
    if "ia" in found and "archive" in found and DAYS[found["archive"]] <= DAYS[found["ia"]]:
        raise ValueError(
            f"archive={found['archive']} is not later than ia={found['ia']}: raise it, or lower ia"
        )
    return " ".join(f"{name}={found[name]}" for name in ("ia", "archive", "back") if name in found)
