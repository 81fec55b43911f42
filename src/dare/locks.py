"""Folders that one process at a time may write to."""

import contextlib
import os
from pathlib import Path

from filelock import FileLock, Timeout


class FolderLock:
    """The lock of the one who writes: the kernel's, so it ends with the process however that ends.

    Args:
        folder: must be there before the lock is taken.
        lock, holder: names of its files: the one that is locked, and one that tells who has locked it.
        refusal: the error for whoever cannot have it.
    """

    def __init__(self, folder: Path, lock: str, holder: str, refusal: type[Exception]) -> None:
        self._folder, self._file, self._told, self._refusal = folder, folder / lock, folder / holder, refusal
        self._lock = FileLock(self._file, thread_local=False)

    def take(self) -> None:
        """Hold the lock, also where this object holds it already.

        Raises:
            refusal: somebody else does.
        """
        while not self.is_held():
            self._lock.release()  # of a file that is gone, if of any
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                raise self._refusal(
                    f"process {self._holder()} is writing to {self._folder}; wait until it is done, or end it"
                ) from None
        try:
            # Only told to whom the lock is refused; nobody decides by it.
            self._told.write_text(str(os.getpid()))
        except BaseException:
            self._lock.release()
            raise

    def is_held(self) -> bool:
        """Whether this object holds the lock of the folder that is there now, not of one that was deleted."""
        handle = self._lock._context.lock_file_fd  # FileLock tells nowhere else which file it holds
        try:
            return handle is not None and os.path.samestat(os.fstat(handle), self._file.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Give the lock back, if this object holds it."""
        if self.is_held():
            with contextlib.suppress(FileNotFoundError):
                self._told.unlink()
        self._lock.release()

    def discard(self) -> None:
        """Remove the lock's files, while this object holds it; whoever waits for them takes new ones."""
        for path in (self._file, self._told):
            path.unlink(missing_ok=True)

    def _holder(self) -> str:
        try:
            return self._told.read_text() or "(unknown)"
        except OSError:
            return "(unknown)"
