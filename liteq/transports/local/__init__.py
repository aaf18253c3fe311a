"""What transports share that concern the processes of one machine: locks, slots, sleepers."""
