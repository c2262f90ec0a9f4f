"""Sources: the tree over a work tree, its scan cache, staging, version control and downloads."""
