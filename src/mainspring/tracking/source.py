"""Capture the code of a run from its Git working tree, within bounds, and never what looks like a secret."""

from __future__ import annotations

import re
import stat
import subprocess
import threading
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path

import msgspec

from mainspring.core.errors import InvalidRequest
from mainspring.tracking.artifacts import check_path
from mainspring.tracking.model import SourceCode, UntrackedFile

_TIMEOUT_S = 10
_MOST_BYTES = 64 << 20
_LARGEST_DIFF = 8
"""How many times `CaptureLimits.max_diff_bytes` is read, to find the files that fit."""
_SECRET_NAMES = (
    *(".env", ".env.*", "*.env", ".envrc", ".netrc", "_netrc", ".pgpass", ".npmrc", ".pypirc", ".htpasswd"),
    *("*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.ppk", "*.gpg", "*.tfstate", "*.tfvars"),
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "*.token", "*_token", "token", ".git-credentials"),
    *("*credential*", "*secret*", "*password*", "service-account*.json", "service_account*.json", "kubeconfig*"),
)
_SECRET_FOLDERS = {".ssh", ".aws", ".azure", ".gcloud", ".gnupg", ".kube", ".docker", "secrets"}
_SECRET_CONTENT = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}"
    rb"|\bxox[baprs]-[A-Za-z0-9-]{10}|\bsk-[A-Za-z0-9_-]{20}|\bAIza[0-9A-Za-z_-]{35}\b|\bglpat-[A-Za-z0-9_-]{20}|\bhf_[A-Za-z0-9]{30}"
    rb"|://[^/\s:@]+:[^/\s:@]+@"
)
_FILE_OF_DIFF = re.compile(rb"^diff --git ", re.MULTILINE)


class CaptureLimits(msgspec.Struct, frozen=True):
    """How much of a working tree is captured; what is beyond is named in `SourceCode.left_out`."""

    max_diff_bytes: int = 1 << 20
    max_file_bytes: int = 256 << 10
    max_files: int = 100
    max_total_bytes: int = 4 << 20


def capture_source(folder: Path | None = None, limits: CaptureLimits | None = None) -> SourceCode | None:
    """Capture commit, branch, diff and untracked files of the repository that *folder* (default: here) lies in.

    None when there is no repository or no Git. Files whose name or content looks like a secret are left out.
    """
    bounds = limits or CaptureLimits()
    root = _git(folder or Path.cwd(), "rev-parse", "--show-toplevel")
    if not root:
        return None
    top = Path(root.decode(errors="surrogateescape").rstrip("\n"))
    commit = _line(top, "rev-parse", "--verify", "--quiet", "HEAD")
    left_out: list[str] = []
    diff = b"" if commit is None else _diff(top, bounds, left_out)
    untracked = _untracked(top, bounds, left_out)
    return SourceCode(
        commit=commit,
        branch=_line(top, "symbolic-ref", "--quiet", "--short", "HEAD"),
        dirty=bool(diff or untracked or left_out),
        diff=diff,
        untracked=untracked,
        left_out=left_out,
    )


def looks_secret(path: str) -> bool:
    """Tell whether the name of a file says that it may hold a secret."""
    *folders, name = path.lower().split("/")
    return not _SECRET_FOLDERS.isdisjoint(folders) or any(fnmatchcase(name, pattern) for pattern in _SECRET_NAMES)


def _diff(top: Path, limits: CaptureLimits, left_out: list[str]) -> bytes:
    names = _git(top, "diff", "--name-only", "-z", "--no-renames", "HEAD").split(b"\0")
    changed = [name.decode(errors="replace") for name in names if name]
    secret = [name for name in changed if looks_secret(name)]
    left_out += [f"{name}: its name says that it may hold secrets" for name in secret]
    options = ["--no-color", "--no-ext-diff", "--no-textconv", "--no-renames"]
    hidden = [f":(exclude,literal,top){name}" for name in secret]
    most = _LARGEST_DIFF * limits.max_diff_bytes
    parts = _files_of(_git(top, "diff", *options, "HEAD", "--", ":/", *hidden, most=most))
    if sum(map(len, parts)) >= most:
        parts.pop()
        left_out.append(f"the diff is cut after {len(parts)} files: it is larger than {most} bytes")
    return b"".join(part for part in _within(parts, limits, left_out))


def _files_of(diff: bytes) -> list[bytes]:
    starts = [match.start() for match in _FILE_OF_DIFF.finditer(diff)]
    return [diff[start:end] for start, end in pairwise([*starts, len(diff)])]


def _within(parts: list[bytes], limits: CaptureLimits, left_out: list[str]) -> Iterator[bytes]:
    size = 0
    for part in parts:
        name = part.partition(b"\n")[0].rpartition(b" b/")[2].decode(errors="replace")
        if _SECRET_CONTENT.search(part):
            left_out.append(f"{name}: its changes look like they hold secrets")
        elif size + len(part) > limits.max_diff_bytes:
            left_out.append(f"{name}: the diff is larger than {limits.max_diff_bytes} bytes")
        else:
            size += len(part)
            yield part


def _untracked(top: Path, limits: CaptureLimits, left_out: list[str]) -> list[UntrackedFile]:
    found: list[UntrackedFile] = []
    total = 0
    names = [name for name in _git(top, "ls-files", "--others", "--exclude-standard", "-z").split(b"\0") if name]
    for number, raw in enumerate(names):
        if len(found) >= limits.max_files:
            left_out.append(f"{len(names) - number} more untracked files: at most {limits.max_files} are captured")
            break
        name = raw.decode(errors="surrogateescape")
        file, why = _read(top / name, name, min(limits.max_file_bytes, limits.max_total_bytes - total))
        if file is None:
            left_out.append(f"{raw.decode(errors='replace')}: {why}")
            continue
        total += len(file.data)
        found.append(file)
    return found


def _read(file: Path, name: str, most: int) -> tuple[UntrackedFile | None, str]:
    if looks_secret(name):
        return None, "its name says that it may hold secrets"
    try:
        check_path(name)
        name.encode()
        found = file.lstat()
        if not stat.S_ISREG(found.st_mode):
            return None, "not a plain file"
        if found.st_size > most:
            return None, f"larger than {most} bytes"
        data = file.read_bytes()
    except (InvalidRequest, UnicodeEncodeError):
        return None, "its name cannot be the path of an artifact"
    except OSError as error:
        return None, str(error.strerror)
    if _SECRET_CONTENT.search(data):
        return None, "it looks like it holds secrets"
    return UntrackedFile(name, data), ""


def _line(folder: Path, *arguments: str) -> str | None:
    return _git(folder, *arguments).decode(errors="replace").strip() or None


def _git(folder: Path, *arguments: str, most: int = _MOST_BYTES) -> bytes:
    """Give the first *most* bytes of what Git says; nothing when it fails or is not there."""
    command = ["git", "-c", "core.quotePath=false", "-c", "core.fsmonitor=false", *arguments]
    try:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        return b""
    assert process.stdout is not None
    impatience = threading.Timer(_TIMEOUT_S, process.kill)
    impatience.start()
    with process:
        said = process.stdout.read(most)
        cut = len(said) == most
        if cut:
            process.kill()
    impatience.cancel()
    return said if cut or process.returncode == 0 else b""
