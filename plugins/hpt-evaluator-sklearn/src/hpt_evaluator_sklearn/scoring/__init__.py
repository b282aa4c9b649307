"""Scores: scorers, the reports and results made of their scores, and the comparison of two configurations."""
