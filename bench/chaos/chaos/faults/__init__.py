"""Everything that a run can do to a cluster."""

from . import machine, network, operations, processes  # noqa: F401  (they register)
from .base import REGISTRY, Fault

__all__ = ["REGISTRY", "Fault"]
