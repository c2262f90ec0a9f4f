"""The small jobs of a build where no sandbox can be had: an ordinary process, no namespaces, mounts or owners."""
