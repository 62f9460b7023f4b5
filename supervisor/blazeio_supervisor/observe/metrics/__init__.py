"""Figures for Prometheus, and whether the service lives and is ready."""
