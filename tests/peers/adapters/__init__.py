"""How each peer is called. A module is imported in its peer's environment only, by callers and by workers."""
