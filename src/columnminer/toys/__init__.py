"""Campaigns of pseudo-experiments (toys), and what they say: thresholds, belts, coverage, power, sensitivity."""
