"""Parameters in one floating point type, computing in another."""
