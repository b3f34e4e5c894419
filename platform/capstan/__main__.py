"""`python -m capstan`: the same as the command `capstan`."""

from capstan.cli.main import main

main()
