"""``python -m digits`` serves."""

from digits.service import main

main()
