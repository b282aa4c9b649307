"""Plugins: finding them, calling their hooks, and making and checking the components that they offer."""
