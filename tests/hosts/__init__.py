"""Several hosts on one machine: what queues on Redis do when a link or a server fails.

    network    hosts as network namespaces on a bridge: addresses, links that fail, folders of their own
    relay      a slow link
    servers    Redis on a host, with a replica and Sentinels where asked
    scenarios  what happens, and what has to come of it

`python -m hosts` runs all of it and prints figures.
"""
