"""``python -m blazeio URL`` fetches it; ``--help`` says what else it can do."""

from blazeio.fetch import main

if __name__ == "__main__":
    main()
