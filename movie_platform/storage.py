"""Objects under one root, on disk and on S3: put whole, get, list, compare-and-swap.

Here belongs how bytes are kept. What they mean, and which names they have, belongs to whoever calls;
Dagster, tables and the environment stay outside (boto3 reads the standard AWS variables itself).

A key is a relative POSIX path such as `raw_movies/2026-01-05.jsonl.gz`. Both kinds of storage promise:

- an object appears whole or not at all, and survives a crash once the call has returned;
- of several writers that swap the same version, one wins and the others learn that they lost;
- an object that is not there is `ObjectNotFound`; everything else that goes wrong is `StorageError`, which names
  the object and the remedy and never shows a credential.
"""

import errno
import fcntl
import hashlib
import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectRequestTypeDef, PutObjectRequestTypeDef

__all__ = [
    "Conflict",
    "DiskStorage",
    "ObjectNotFound",
    "ObjectTooLargeError",
    "S3Storage",
    "Storage",
    "StorageError",
    "Versioned",
    "open_storage",
]

# The first character of a part rules out hidden names, "." and "..". 200 characters leave room on disk for the
# name of the partial file, and the rest needs no quoting in a URL, a shell or a log.
_KEY = re.compile(r"[A-Za-z0-9_+=-][A-Za-z0-9._+=-]{0,199}(/[A-Za-z0-9_+=-][A-Za-z0-9._+=-]{0,199})*")
_BUCKET = re.compile(r"[A-Za-z0-9._-]+")


class StorageError(Exception):
    """The storage did not do what was asked: names the object, the reason and the remedy."""


class ObjectNotFound(FileNotFoundError):  # noqa: N818 says what happened, as FileNotFoundError does
    """There is no such object, although the storage can be read."""


class ObjectTooLargeError(StorageError):
    """The object has more bytes than its reader takes."""


class Conflict(Exception):  # noqa: N818 an answer to be expected, not an error
    """The object is no longer what was read."""


@dataclass(frozen=True, slots=True)
class Versioned:
    """An object as it was read. Only equality of versions means anything."""

    data: bytes
    version: str


class Storage(ABC):
    """Objects by key. Methods block, and may be called from several threads and processes at once.

    Every method raises `ValueError` for a malformed key, and `StorageError` as described above.
    """

    @abstractmethod
    def url(self, key: str) -> str:
        """Return where an object is, for people: an absolute path, or s3://bucket/key."""

    @abstractmethod
    def put(self, key: str, data: bytes) -> None:
        """Write an object, whatever was there before."""

    @abstractmethod
    def swap(self, key: str, data: bytes, *, expected: str | None) -> None:
        """Write an object if it still has the version `expected` (None: if it does not exist).

        Raises `Conflict` if it has not: read again and decide anew. After an answer that was lost on the way,
        the other writer may have been this very call.
        """

    @abstractmethod
    def get_versioned(
        self, key: str, *, known: Versioned | None = None, at_most: int | None = None
    ) -> Versioned | None:
        """Read an object together with its version; None if there is none.

        Returns `known` itself, what an earlier call has read, if the object has not changed since: for those who look
        often. S3 then sends no content. Raises `ObjectTooLargeError` for more than `at_most`
        bytes, without reading them.
        """

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Tell whether there is such an object."""

    @abstractmethod
    def list(self, folder: str = "") -> Sequence[str]:
        """Return the keys of all objects in a folder and the folders below it (all, without one), sorted.

        Only well-formed keys: what another program left there under a hidden name, say, is not an object.
        """

    @abstractmethod
    def modified(self, folder: str = "") -> Mapping[str, datetime]:
        """Return when each object of `list` was last written, sorted by key."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object; it is fine if there is none."""

    def half_written(self, folder: str = "") -> Mapping[str, datetime]:
        """Return the keys of objects that a writer has begun and left, and when; the objects themselves are unharmed.

        On S3 there are none.
        """
        _checked(folder or "all")
        return {}

    def discard_half_written(self, key: str) -> None:
        """Remove what a writer has left of an object, not the object; it is fine if there is nothing."""
        _checked(key)

    def clock(self) -> datetime | None:
        """Ask what time it is where the objects are kept; None where that is this machine."""
        return None

    def get(self, key: str, *, at_most: int | None = None) -> bytes:
        """Read an object. Raises `ObjectNotFound` if there is none; `at_most` is that of `get_versioned`."""
        found = self.get_versioned(key, at_most=at_most)
        if found is None:
            raise ObjectNotFound(f"there is no {self.url(key)}")
        return found.data

    def put_new(self, key: str, data: bytes) -> bool:
        """Write an object unless there is one already; tell whether it was written."""
        try:
            self.swap(key, data, expected=None)
        except Conflict:
            return False
        return True


def open_storage(url: str, *, read_timeout: float = 60) -> Storage:
    """Return the storage at a local path or at `s3://bucket/prefix`. Nothing is read or written yet.

    S3 may be silent for `read_timeout` seconds before a request is sent again, twice at most.
    """
    if "://" not in url and url.strip():
        return DiskStorage(Path(url).absolute())
    scheme, _, location = url.partition("://")
    bucket, _, prefix = location.partition("/")
    if scheme != "s3" or not _BUCKET.fullmatch(bucket):
        raise ValueError("the storage is neither a local folder nor like s3://bucket/prefix: write one of the two")
    return S3Storage(bucket, prefix.rstrip("/"), read_timeout=read_timeout)


class DiskStorage(Storage):
    """Objects as files under a folder, which the first write creates. Needs a POSIX system.

    A version is the SHA-256 of the content. Writers of one object exclude each other by a lock on its partial
    file, between all processes of a machine; whether it reaches other machines depends on the file system.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def url(self, key: str) -> str:
        """Return the file's path."""
        return str(self._path(key))

    def put(self, key: str, data: bytes) -> None:
        """Write beside, then rename."""
        path = self._path(key)
        with _disk_failures("write", path), _locked_partial(path) as partial:
            _replace(path, partial, data)

    def swap(self, key: str, data: bytes, *, expected: str | None) -> None:
        """Compare and write while holding the object's lock."""
        path = self._path(key)
        with _disk_failures("write", path), _locked_partial(path) as partial:
            current = self.get_versioned(key)
            if expected != (current.version if current else None):
                raise Conflict(f"{path} is no longer what was read: read it again and decide anew")
            _replace(path, partial, data)

    def get_versioned(
        self, key: str, *, known: Versioned | None = None, at_most: int | None = None
    ) -> Versioned | None:
        """Read the file at once: a rename in the meantime does not change what is read."""
        path = self._path(key)
        with _disk_failures("read", path):
            try:
                with path.open("rb") as file:
                    _limit(os.fstat(file.fileno()).st_size, at_most, str(path))
                    data = file.read()
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                return None
        version = hashlib.sha256(data).hexdigest()
        return known if known is not None and known.version == version else Versioned(data, version)

    def exists(self, key: str) -> bool:
        """Look for a file; a folder is none."""
        path = self._path(key)
        with _disk_failures("look for", path):
            return path.is_file()

    def list(self, folder: str = "") -> Sequence[str]:
        """Walk through the folders, leaving hidden ones out."""
        return sorted(self._key(path) for path in self._walk(folder) if _KEY.fullmatch(path.name))

    def modified(self, folder: str = "") -> Mapping[str, datetime]:
        """Ask for the time of each file."""
        return self._times((self._key(path), path) for path in self._walk(folder) if _KEY.fullmatch(path.name))

    def half_written(self, folder: str = "") -> Mapping[str, datetime]:
        """Look for partial files that nobody holds the lock of."""
        partials = [(path, match[1]) for path in self._walk(folder) if (match := _PARTIAL.fullmatch(path.name))]
        return self._times(
            (self._key(path.with_name(name)), path)
            for path, name in partials
            if _KEY.fullmatch(name) and not _is_locked(path)
        )

    def discard_half_written(self, key: str) -> None:
        """Remove the partial file, while holding its lock."""
        path = self._path(key)
        with _disk_failures("clean up", path):
            if _partial(path).exists():
                with _locked_partial(path):
                    pass

    def _walk(self, folder: str) -> Iterator[Path]:
        top = self._path(folder) if folder else self._root

        def fail(error: OSError) -> None:
            # A folder that is not there (yet, or any more) holds nothing.
            if not isinstance(error, FileNotFoundError | NotADirectoryError):
                raise error

        with _disk_failures("list", top):
            for parent, folders, names in os.walk(top, onerror=fail):
                folders[:] = filter(_KEY.fullmatch, folders)
                yield from (Path(parent, name) for name in names)

    def _key(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    def _times(self, files: Iterator[tuple[str, Path]]) -> dict[str, datetime]:
        times = {}
        for key, path in files:
            with _disk_failures("look at", path), suppress(FileNotFoundError):  # removed since the folder was read
                times[key] = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        return dict(sorted(times.items()))

    def delete(self, key: str) -> None:
        """Remove the file, and what a killed writer left beside it, while holding the object's lock."""
        path = self._path(key)
        with _disk_failures("delete", path):
            if not path.parent.is_dir():
                return
            with _locked_partial(path):
                path.unlink(missing_ok=True)
                _sync_folder(path.parent)

    def _path(self, key: str) -> Path:
        return self._root / _checked(key)


class S3Storage(Storage):
    """Objects in a bucket, below a prefix. A version is the ETag.

    Credentials, region and endpoint come from the standard AWS variables (`AWS_ENDPOINT_URL_S3` too), at the
    first call. Reading needs `s3:ListBucket`: without it S3 does not tell missing objects from forbidden ones.
    """

    _ATTEMPTS_AT_CONFLICT = 5

    def __init__(self, bucket: str, prefix: str = "", *, read_timeout: float = 60) -> None:
        self._bucket = bucket
        self._read_timeout = read_timeout
        self._prefix = f"{_checked(prefix)}/" if prefix else ""

    def url(self, key: str) -> str:
        """Return s3://bucket/key."""
        return f"s3://{self._bucket}/{self._name(key)}"

    def put(self, key: str, data: bytes) -> None:
        """Write with one PUT, which S3 makes visible as a whole."""
        with self._failures("write", key):
            self._client.put_object(Bucket=self._bucket, Key=self._name(key), Body=data)

    def swap(self, key: str, data: bytes, *, expected: str | None) -> None:
        """Write with one conditional PUT."""
        request: PutObjectRequestTypeDef = {"Bucket": self._bucket, "Key": self._name(key), "Body": data}
        if expected is None:
            request["IfNoneMatch"] = "*"
        else:
            request["IfMatch"] = expected
        with self._failures("write", key):
            for attempt in range(self._ATTEMPTS_AT_CONFLICT):
                try:
                    self._client.put_object(**request)
                except self._client.exceptions.ClientError as error:
                    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                    if status == HTTPStatus.CONFLICT:  # another write is under way: S3 asks to try again
                        time.sleep(0.05 * 2**attempt)
                    elif status == HTTPStatus.PRECONDITION_FAILED or _code(error) == "NoSuchKey":
                        break
                    else:
                        raise
                else:
                    return
        raise Conflict(f"{self.url(key)} is no longer what was read: read it again and decide anew")

    def get_versioned(
        self, key: str, *, known: Versioned | None = None, at_most: int | None = None
    ) -> Versioned | None:
        """Read with one GET, a conditional one if something is known."""
        request: GetObjectRequestTypeDef = {"Bucket": self._bucket, "Key": self._name(key)}
        if known is not None:
            request["IfNoneMatch"] = known.version
        with self._failures("read", key):
            try:
                answer = self._client.get_object(**request)
            except self._client.exceptions.NoSuchKey:
                return None
            except self._client.exceptions.ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] != HTTPStatus.NOT_MODIFIED:
                    raise
                return known
            with closing(answer["Body"]) as body:
                _limit(answer["ContentLength"], at_most, self.url(key))
                return Versioned(data=body.read(), version=answer["ETag"])

    def exists(self, key: str) -> bool:
        """Ask for the first name that begins with the key: a HEAD would not tell a missing bucket apart."""
        name = self._name(key)
        with self._failures("look for", key):
            answer = self._client.list_objects_v2(Bucket=self._bucket, Prefix=name, MaxKeys=1)
        return any(entry["Key"] == name for entry in answer.get("Contents", []))

    def list(self, folder: str = "") -> Sequence[str]:
        """Ask for page after page."""
        return list(self.modified(folder))

    def modified(self, folder: str = "") -> Mapping[str, datetime]:
        """Ask for page after page; the time is S3's own."""
        prefix = f"{self._name(folder)}/" if folder else self._prefix
        times = {}
        with self._failures("list", folder):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            for page in pages:
                for entry in page.get("Contents", []):
                    times[entry["Key"].removeprefix(self._prefix)] = entry["LastModified"].astimezone(UTC)
        return {key: times[key] for key in sorted(filter(_KEY.fullmatch, times))}

    def delete(self, key: str) -> None:
        """Remove with one DELETE."""
        with self._failures("delete", key):
            self._client.delete_object(Bucket=self._bucket, Key=self._name(key))

    def clock(self) -> datetime | None:
        """Read the date of an answer."""
        with self._failures("list", ""):
            answer = self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)
        try:
            return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        except (KeyError, ValueError):
            return None

    @cached_property
    def _client(self) -> "S3Client":
        # Imported here: boto3 takes longer to import than the rest together, and not everybody uses S3.
        import boto3  # noqa: PLC0415
        from botocore.config import Config  # noqa: PLC0415

        config = Config(
            connect_timeout=5,
            read_timeout=self._read_timeout,
            retries={"mode": "standard"},
            # botocore cannot read a "not modified" that names the object's checksum. What matters has a digest of ours.
            response_checksum_validation="when_required",
        )
        # A session of its own: the default one may not be used from several threads while clients are made.
        return boto3.session.Session().client("s3", config=config)

    def _name(self, key: str) -> str:
        return self._prefix + _checked(key)

    @contextmanager
    def _failures(self, action: str, key: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 as in _client

        url = self.url(key) if key else f"s3://{self._bucket}/{self._prefix}"
        try:
            yield
        except ClientError as error:
            code, message = _code(error), error.response["Error"].get("Message", "")
            reason = f"{code} ({message}): {_S3_REMEDIES.get(code, _S3_OTHER_REMEDY)}"
        except (BotoCoreError, ValueError) as error:  # a ValueError is an endpoint that is not a URL
            # Only its name: the text may hold the endpoint, and that a password.
            code = type(error).__name__
            reason = f"{code}: {_S3_REMEDIES.get(code, _S3_OTHER_REMEDY)}"
        else:
            return
        raise StorageError(f"cannot {action} {url}: {reason}") from None


def _limit(size: int, at_most: int | None, url: str) -> None:
    if at_most is not None and size > at_most:
        raise ObjectTooLargeError(f"{url} has {size:,} bytes, more than {at_most:,}: it is not what its name says")


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError(
            f"{key!r} is not a key: write names of letters, digits and ._+=- that do not begin with a dot, "
            "at most 200 characters each, with single slashes between them"
        )
    return key


# --- disk ------------------------------------------------------------------------------------------


_PARTIAL = re.compile(r"\.(.+)\.partial")


def _partial(path: Path) -> Path:
    """Name the file beside an object into which it is written: always the same, and hidden from `list`.

    What a killed writer left is therefore taken over by the next one.
    """
    return path.with_name(f".{path.name}.partial")


def _is_locked(partial: Path) -> bool:
    """Tell whether a writer is at work on the partial file, or has just finished."""
    with _disk_failures("look at", partial):
        try:
            with partial.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (BlockingIOError, FileNotFoundError):
            return True
        return False


@contextmanager
def _locked_partial(path: Path) -> Iterator[int]:
    """Hold the partial file of an object, open and locked; on leaving, it has been renamed or is removed."""
    partial = _partial(path)
    _make_folder(path.parent)
    descriptor = _lock(partial)
    try:
        yield descriptor
    finally:
        if _has_name(descriptor, partial):
            partial.unlink()
        # Said outright, because a process that was forked meanwhile holds the file open too.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _lock(partial: Path) -> int:
    while True:
        with ExitStack() as on_failure:
            descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            on_failure.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Whoever held the lock before may have renamed or removed the file that was opened here.
            if _has_name(descriptor, partial):
                on_failure.pop_all()
                return descriptor


def _has_name(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _replace(path: Path, partial: int, data: bytes) -> None:
    os.ftruncate(partial, 0)
    with open(partial, "wb", closefd=False) as file:
        file.write(data)
    os.fsync(partial)
    _partial(path).rename(path)
    _sync_folder(path.parent)


def _make_folder(folder: Path) -> None:
    missing = [above for above in (folder, *folder.parents) if not above.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        _sync_folder(made.parent)


def _sync_folder(folder: Path) -> None:
    """Make the folder's names survive a crash of the machine."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_DISK_REMEDIES = {
    errno.ENOSPC: "free some space, or use a larger disk",
    errno.EDQUOT: "free some space, or ask for a larger quota",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EROFS: "mount the disk writable, or use another folder",
    errno.EACCES: "give this user the right to it, or use another folder",
    errno.EPERM: "give this user the right to it, or use another folder",
    errno.EISDIR: "a folder has the object's name; move it away",
    errno.ENOTDIR: "a file has the name of one of the folders; move it away",
    errno.EEXIST: "a file has the name of one of the folders; move it away",
    errno.ENOENT: "the folder was removed in the meantime; try again",
    errno.ELOOP: "a link has the object's name; move it away",
    errno.ENAMETOOLONG: "use a folder with a shorter path",
}


@contextmanager
def _disk_failures(action: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remedy = _DISK_REMEDIES.get(error.errno or 0, "see whether the disk is well")
        raise StorageError(f"cannot {action} {path}: {error.strerror}: {remedy}") from error


# --- S3 ------------------------------------------------------------------------------------------

_S3_CREDENTIALS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY anew, or give the machine a role"
_S3_RIGHTS = "allow s3:ListBucket on the bucket, s3:GetObject, s3:PutObject and s3:DeleteObject below the prefix"
_S3_REGION = "set AWS_DEFAULT_REGION to the bucket's region"
_S3_NETWORK = "see whether the network and AWS_ENDPOINT_URL_S3, if it is set, are right, and try again"
_S3_OTHER_REMEDY = "see whether the AWS variables are right, and try again"
_S3_REMEDIES = {
    # codes that S3 answers with
    "NoSuchBucket": "create the bucket, or name another one",
    "InvalidBucketName": "name another bucket",
    "AccessDenied": _S3_RIGHTS,
    "AllAccessDisabled": _S3_RIGHTS,
    "InvalidAccessKeyId": _S3_CREDENTIALS,
    "SignatureDoesNotMatch": _S3_CREDENTIALS,
    "ExpiredToken": _S3_CREDENTIALS,
    "InvalidToken": _S3_CREDENTIALS,
    "AuthorizationHeaderMalformed": _S3_REGION,
    "PermanentRedirect": _S3_REGION,
    "IllegalLocationConstraintException": _S3_REGION,
    "RequestTimeTooSkewed": "set the machine's clock",
    # exceptions of botocore
    "NoCredentialsError": _S3_CREDENTIALS,
    "PartialCredentialsError": _S3_CREDENTIALS,
    "CredentialRetrievalError": _S3_CREDENTIALS,
    "TokenRetrievalError": _S3_CREDENTIALS,
    "ProfileNotFound": "correct AWS_PROFILE",
    "NoRegionError": _S3_REGION,
    "InvalidRegionError": _S3_REGION,
    "ParamValidationError": "name another bucket",
    "EndpointConnectionError": _S3_NETWORK,
    "ConnectTimeoutError": _S3_NETWORK,
    "ConnectionClosedError": _S3_NETWORK,
    "ReadTimeoutError": _S3_NETWORK,
    "ResponseStreamingError": _S3_NETWORK,
    "IncompleteReadError": _S3_NETWORK,
    "ProxyConnectionError": _S3_NETWORK,
    "SSLError": _S3_NETWORK,
    "ValueError": "correct AWS_ENDPOINT_URL_S3",
}


def _code(error: "ClientError") -> str:
    return error.response["Error"]["Code"]
