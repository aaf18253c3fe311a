"""What `nox -s bench-peers` runs: the same work on liteq and on what people would use in its place.

`run` is the driver. It asks `environments` for a virtual environment for each peer of the `catalogue`, and
runs *turns* in them (`turn`): a turn is a process that does one section of the work with one peer, with a
new store and with workers of its own. What is measured, and how, is in `loops`, which is the same code for
every peer; an adapter in `adapters` says how this peer is called. Everything here needs the standard library
only, and nothing but liteq's adapter imports liteq.
"""
