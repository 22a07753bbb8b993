"""What runs inside the sandbox. Standard library only: the rest of the package cannot be seen from there."""
