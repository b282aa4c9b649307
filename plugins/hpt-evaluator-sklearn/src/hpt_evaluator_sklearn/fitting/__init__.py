"""Fitting: one estimator on one fold, and the ways to fit a trial on all of them."""
