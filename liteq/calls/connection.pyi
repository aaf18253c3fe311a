from sqlite3 import Connection as Connection

__all__ = ["Connection"]
