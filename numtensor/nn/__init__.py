"""Neural networks: modules, their functions, parameters and initialisation."""

from . import functional as functional
