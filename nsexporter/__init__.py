"""Prometheus exporter for the memory of every cgroup and the sharing of every namespace."""

__version__ = "0.1.0"
