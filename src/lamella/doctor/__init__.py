"""``lamella doctor``: is this host able to do the work, and what would repair it."""

from lamella.doctor.checks import Repair, examine, repair_of, uses_builder
from lamella.doctor.values import Doctor, Finding, Fix

__all__ = ["Doctor", "Finding", "Fix", "Repair", "examine", "repair_of", "uses_builder"]
