"""The loop: what happens next in a study, and the workers that do it."""
