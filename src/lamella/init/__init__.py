"""``lamella init``: a project file from what is there, with a reason for each line."""
