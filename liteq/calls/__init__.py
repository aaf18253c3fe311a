"""How a call becomes a job: its arguments checked, its options placed, its context passed on."""
