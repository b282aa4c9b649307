"""What happened in a study: the records of its log, and the history that they are replayed into."""
