"""Whose a cgroup is: identity from its path, metadata from its runtime."""
