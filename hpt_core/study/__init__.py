"""A study: from a study file or Python, opened in its store, run, read and audited."""
