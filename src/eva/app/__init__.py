"""The application: config, building the parts, the command line."""
