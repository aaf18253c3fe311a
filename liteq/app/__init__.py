"""What a queue object is made of: settings, names, its hold on the transport, and its workers."""
