"""Reads hand-written digits of 8 x 8 pixels."""
