"""Measuring what personas are worth: one metric a file."""
