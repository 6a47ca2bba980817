"""Prompts and packaged assets: what comes from outside."""
