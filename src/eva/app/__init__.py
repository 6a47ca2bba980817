"""The application: config, building the parts, playing the game, the command line."""
