//! Rate-limit state in a SQLite file: one host, many processes, survives restarts.
