"""Which candidate comes next, and which one wins."""
