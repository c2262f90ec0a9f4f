"""Writes images out of the store: OCI layouts, Docker archives, plain directories, root file systems as tar."""
