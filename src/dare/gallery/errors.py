"""What can be wrong with a gallery; each kind has a code for programs."""


class MismatchError(ValueError):
    """Vectors that cannot belong to a gallery: of another model, size or number of exits, or not numbers."""

    code = "model_mismatch"


class GalleryError(ValueError):
    """A gallery that is not there, cannot be read, or is not free."""

    code = "gallery_unusable"


class UnknownGalleryError(GalleryError):
    """There is no gallery."""

    code = "unknown_gallery"


class GalleryLockedError(GalleryError):
    """Another process, or another object of this one, is writing."""

    code = "gallery_locked"


class GalleryChangedError(GalleryError):
    """A gallery that was open is gone, unreadable, or of another network now."""

    code = "gallery_changed"
