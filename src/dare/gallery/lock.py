"""A folder's write lock, which ends with the process that holds it."""

import contextlib
import os
from pathlib import Path


class FolderLock:
    """A folder's write lock. The kernel holds it, so it ends with the process, however that ends.

    Args:
        folder: must exist before the lock is taken.
        lock, holder: names of two files in it: the locked one, and one that says which process locked it.
        refusal: the error raised when another process holds the lock.
    """

    def __init__(self, folder: Path, lock: str, holder: str, refusal: type[Exception]) -> None:
        from filelock import FileLock  # slow to import, and most commands lock nothing

        self._folder, self._file, self._told, self._refusal = folder, folder / lock, folder / holder, refusal
        self._lock = FileLock(self._file, thread_local=False)

    def take(self) -> None:
        """Hold the lock; does nothing if this object holds it already.

        Raises:
            refusal: another process holds it.
        """
        from filelock import Timeout

        while not self.is_held():
            self._lock.release()  # it may be that of a deleted file
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                raise self._refusal(
                    f"process {self._holder()} is writing to {self._folder}; wait until it is done, or end it"
                ) from None
        try:
            # Only shown to those who are refused; nothing depends on it.
            self._told.write_text(str(os.getpid()))
        except BaseException:
            self._lock.release()
            raise

    def is_held(self) -> bool:
        """Whether this object holds the lock of the folder as it is now, not of one that was deleted."""
        handle = self._lock._context.lock_file_fd  # FileLock has no public name for this
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
        """Remove the lock's files while holding it; the next to take it makes new ones."""
        for path in (self._file, self._told):
            path.unlink(missing_ok=True)

    def _holder(self) -> str:
        try:
            return self._told.read_text() or "(unknown)"
        except OSError:
            return "(unknown)"
