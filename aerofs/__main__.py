"""`python -m aerofs`: the command line."""

from aerofs.cli import main

if __name__ == "__main__":
    main()
