"""Fitting: the ways to fit a trial on all folds, and what its fits share."""
