"""Columns at rest."""
