//! Rate-limit state in Redis: many hosts, one Lua round trip, standalone, sentinel and cluster.
