"""Estimators: made from specifications, and configured for each trial."""
