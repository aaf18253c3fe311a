"""The stores that a queue can stand on; each implements `liteq.transport.Transport`."""
