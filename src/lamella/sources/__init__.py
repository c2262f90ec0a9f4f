"""Where bytes come from: the work tree, commits, downloads, package indexes, foreign files."""
