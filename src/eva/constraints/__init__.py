"""Verifiable constraints: the language of prompts whose answers a program can check."""
