"""`python -m effectpairs`."""

from .cli.data import main

if __name__ == "__main__":
    main()
