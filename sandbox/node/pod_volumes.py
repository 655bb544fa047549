"""A pod's volumes: directories of this machine, prepared and laid out as a kubelet does."""

from __future__ import annotations

import dataclasses
import datetime
import os
import pathlib
import stat
from collections.abc import Callable, Sequence

from sandbox.aws import nfs_mount
from sandbox.node import container_process, kubelet_client, pod_references

Mounter = Callable[[str, Sequence[str], str], pathlib.Path]
"""A function that mounts NFS: server, options and mount point to the exported directory."""

_FILE_KINDS = ("configMap", "secret", "downwardAPI", "projected")
_TOKEN_SECONDS = 3600


class VolumeError(Exception):
    """A volume that is not ready; the message is that of the kubelet's event."""


@dataclasses.dataclass(frozen=True)
class _File:
    content: bytes
    mode: int


class Volumes:
    """The volumes of one pod.

    Args:
        pod: The pod.
        directory: The directory of the volumes that end with the pod.
        references: The objects that the pod refers to.
        mounter: The function that mounts NFS on the node.
    """

    def __init__(
        self,
        pod: kubelet_client.Object,
        directory: pathlib.Path,
        references: pod_references.References,
        mounter: Mounter,
    ) -> None:
        self._pod = pod
        self._directory = directory
        self._references = references
        self._mounter = mounter
        self._ready: dict[str, pathlib.Path] = {}
        self._read_only: set[str] = set()

    def pending(self) -> list[kubelet_client.Object]:
        """Return the volumes that are not ready."""
        volumes: list[kubelet_client.Object] = self._pod["spec"].get("volumes", [])
        return [volume for volume in volumes if volume["name"] not in self._ready]

    def set_up(self, volume: kubelet_client.Object) -> None:
        """Prepare a volume.

        Raises:
            VolumeError: It cannot be prepared now.
        """
        name: str = volume["name"]
        if "persistentVolumeClaim" in volume:
            self._ready[name] = self._claimed(name, volume["persistentVolumeClaim"])
        elif "nfs" in volume:
            if volume["nfs"].get("readOnly"):
                self._read_only.add(name)
            self._ready[name] = self._nfs(name, volume["nfs"], [])
        elif "emptyDir" in volume:
            self._ready[name] = self._empty(name)
        elif any(kind in volume for kind in _FILE_KINDS):
            try:
                files = self._files(volume)
            except (pod_references.MissingError, kubelet_client.ApiError) as error:
                raise _failed(name, str(error)) from error
            self._ready[name] = self._written(name, files)
            self._read_only.add(name)
        else:
            raise _failed(name, "no volume plugin matched")

    def mounts(self, container: kubelet_client.Object) -> tuple[container_process.Mount, ...]:
        """Return a container's mounts.

        Raises:
            VolumeError: A sub-path leads outside its volume, or cannot be made.
        """
        return tuple(
            self._mount(container["name"], mount) for mount in container.get("volumeMounts", [])
        )

    def _claimed(self, name: str, source: kubelet_client.Object) -> pathlib.Path:
        try:
            claim = self._references.claim(source["claimName"])
            if "deletionTimestamp" in claim["metadata"]:
                raise _claim_error(name, claim, "can't start pod because PVC is being deleted")
            if claim["status"].get("phase") != "Bound":
                raise _claim_error(name, claim, "PVC is not bound")
            volume = self._references.volume(claim["spec"]["volumeName"])
        except (pod_references.MissingError, kubelet_client.ApiError) as error:
            raise _failed(name, str(error)) from error
        spec = volume["spec"]
        if "nfs" not in spec:
            raise _failed(volume["metadata"]["name"], "no volume plugin matched")
        if source.get("readOnly") or spec["nfs"].get("readOnly"):
            self._read_only.add(name)
        return self._nfs(volume["metadata"]["name"], spec["nfs"], spec.get("mountOptions", []))

    def _nfs(
        self, name: str, source: kubelet_client.Object, options: Sequence[str]
    ) -> pathlib.Path:
        server, path = source["server"], source["path"]
        uid = self._pod["metadata"]["uid"]
        point = f"/var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~nfs/{name}"
        # As kubelet's JoinMountOptions: sorted, each once.
        options = sorted({*options, "ro"} if source.get("readOnly") else {*options})
        try:
            export = self._mounter(server, options, point)
            directory = export / path.lstrip("/")
            if not directory.is_dir():
                raise nfs_mount.MountError(
                    f"mount.nfs: mounting {server}:{path} failed, "
                    "reason given by server: No such file or directory"
                )
        except nfs_mount.MountError as error:
            flags = f" -o {','.join(options)}" if options else ""
            reason = (
                "mount failed: exit status 32\nMounting command: mount\n"
                f"Mounting arguments:  -t nfs{flags} {server}:{path} {point}\n"
                f"Output: {error.output}\n"
            )
            raise _failed(name, reason) from error
        return directory

    def _empty(self, name: str) -> pathlib.Path:
        directory = self._new_directory(name)
        directory.chmod(0o777)
        self._give_to_group(directory, 0o2070)
        return directory

    def _files(self, volume: kubelet_client.Object) -> dict[str, _File]:
        """Return the files of a volume made of objects that the pod refers to."""
        sources: list[kubelet_client.Object] = [volume]
        mode = 0o644
        if "projected" in volume:
            sources = volume["projected"]["sources"]
            mode = volume["projected"].get("defaultMode", mode)
        files: dict[str, _File] = {}
        for source in sources:
            if "serviceAccountToken" in source:
                token = source["serviceAccountToken"]
                seconds = token.get("expirationSeconds", _TOKEN_SECONDS)
                content = self._references.token(token.get("audience"), seconds).encode()
                files[token["path"]] = _File(content, mode)
            elif "downwardAPI" in source:
                for item in source["downwardAPI"].get("items", []):
                    content = self._references.field(item["fieldRef"]["fieldPath"]).encode()
                    files[item["path"]] = _File(content, item.get("mode", mode))
            else:
                files.update(self._content(source, mode))
        return files

    def _content(self, source: kubelet_client.Object, mode: int) -> dict[str, _File]:
        """Return the files of a config map or a secret."""
        kind = "config" if "configMap" in source else "secret"
        reference = source.get("configMap") or source["secret"]
        name: str = reference.get("name") or reference["secretName"]
        mode = reference.get("defaultMode", mode)
        look = self._references.config_map if kind == "config" else self._references.secret
        try:
            content = look(name)
        except pod_references.MissingError:
            if not reference.get("optional"):
                raise
            return {}
        if "items" not in reference:
            return {key: _File(value, mode) for key, value in content.items()}
        files: dict[str, _File] = {}
        for item in reference["items"]:
            if item["key"] in content:
                files[item["path"]] = _File(content[item["key"]], item.get("mode", mode))
            elif not reference.get("optional"):
                message = f"references non-existent {kind} key: {item['key']}"
                raise pod_references.MissingError(message)
        return files

    def _written(self, name: str, files: dict[str, _File]) -> pathlib.Path:
        """Write the files to a directory with the kubelet's symbolic links, and return it."""
        directory = self._new_directory(name)
        version = directory / datetime.datetime.now().strftime("..%Y_%m_%d_%H_%M_%S.%f")
        version.mkdir()
        (directory / "..data").symlink_to(version.name)
        for path, file in files.items():
            target = version / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.content)
            target.chmod(file.mode)
            self._give_to_group(target, 0o040)
            link = directory / pathlib.PurePath(path).parts[0]
            if not link.is_symlink():
                link.symlink_to(f"..data/{link.name}")
        return directory

    def _new_directory(self, name: str) -> pathlib.Path:
        directory = self._directory / name
        directory.mkdir(parents=True)
        return directory

    def _give_to_group(self, path: pathlib.Path, mode: int) -> None:
        """Apply fsGroup, which has no effect on NFS volumes."""
        group = self._pod["spec"].get("securityContext", {}).get("fsGroup")
        if group is not None and container_process.isolation() is container_process.Isolation.ROOT:
            os.chown(path, -1, group)
            path.chmod(path.stat().st_mode | mode)

    def _mount(self, container: str, mount: kubelet_client.Object) -> container_process.Mount:
        """Return a mount; the sub-path is looked up now, at each start of the container."""
        name: str = mount["name"]
        volume = self._ready[name]
        source = volume / mount.get("subPath", "")
        where = f'subPath for volumeMount "{name}" of container "{container}"'
        if not source.resolve().is_relative_to(volume.resolve()):
            raise VolumeError(f"failed to prepare {where}")
        if not source.exists():
            if name in self._read_only:
                where = where.replace("subPath", "subPath directory", 1)
                raise VolumeError(f"failed to create {where}")
            _make_directories(source, volume)
        read_only = name in self._read_only or mount.get("readOnly", False)
        sub_path = bool(mount.get("subPath"))
        return container_process.Mount(source, mount["mountPath"], read_only, sub_path)


def _make_directories(path: pathlib.Path, volume: pathlib.Path) -> None:
    """Create a sub-path, owned by root and with the mode of the volume's directory.

    As kubelet's doSafeMakeDir does it: the sticky bit, too, and for each new directory.
    """
    mode = stat.S_IMODE(volume.stat().st_mode)
    for directory in (*reversed(path.relative_to(volume).parents), path.relative_to(volume)):
        subdirectory = volume / directory
        if not subdirectory.exists():
            subdirectory.mkdir()
            subdirectory.chmod(mode)


def _failed(name: str, reason: str) -> VolumeError:
    return VolumeError(f'MountVolume.SetUp failed for volume "{name}" : {reason}')


def _claim_error(name: str, claim: kubelet_client.Object, reason: str) -> VolumeError:
    metadata = claim["metadata"]
    return VolumeError(
        f"Unable to attach or mount volumes: unmounted volumes=[{name}], unattached volumes=[], "
        f"failed to process volumes=[{name}]: "
        f"error processing PVC {metadata['namespace']}/{metadata['name']}: {reason}"
    )
