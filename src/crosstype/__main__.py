"""`python -m crosstype`: the same as the command `crosstype`."""

from crosstype.cli.app import main

if __name__ == "__main__":
    main()
