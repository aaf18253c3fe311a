"""The engine: what claims jobs and runs them, in processes under a supervisor or in threads."""
