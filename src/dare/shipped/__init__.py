"""Networks that come with the package: a folder each, found by its name."""
