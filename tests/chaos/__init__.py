"""Proofs of the guarantees: each breaks something on purpose, many times, and counts what was lost.

The default suite runs each at its short size; `nox -s chaos` runs them at their long one.
"""
