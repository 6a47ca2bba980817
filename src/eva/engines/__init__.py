"""Engines: policies that answer and train."""
