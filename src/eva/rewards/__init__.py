"""Rewards: rules, reward models, user functions, combinations."""
