"""The Redis transport: queues on a server that many hosts reach."""
