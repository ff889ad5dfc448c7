"""Optimisers and their learning rate schedules."""
