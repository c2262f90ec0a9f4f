"""``python -m lamella.cli``."""

from lamella.cli.main import main

main()
