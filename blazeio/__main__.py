"""``python -m blazeio URL`` fetches it; ``--help`` says what else it can do.

May import: blazeio.fetch.
"""

from blazeio.fetch.command import main

if __name__ == "__main__":
    main()
