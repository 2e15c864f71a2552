"""Where things are kept: the guarded YAML loader, the atomic writer, a study's folder."""
