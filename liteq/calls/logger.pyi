from logging import Logger as Logger

__all__ = ["Logger"]
