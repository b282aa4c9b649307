"""The data of a study: loading it, splitting it into holdout and folds, and routing its metadata."""
