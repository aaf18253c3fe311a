"""How one worker process runs several jobs at once: `base` says what a pool is, `registry` finds one."""
