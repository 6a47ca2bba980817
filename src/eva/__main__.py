"""`python -m eva` is the `eva` command."""

from eva.app.cli import main

if __name__ == "__main__":
    main()
