"""`python -m layerlimits` is `layerlimits`."""

from layerlimits.cli import main

main()
