"""``lamella doctor``: is this host able to do the work, and what would repair it."""

from lamella.doctor.checks import Finding, Fix, examine

__all__ = ["Finding", "Fix", "examine"]
