"""`python -m logcosh_vae`."""

from .cli import main

if __name__ == "__main__":
    main()
