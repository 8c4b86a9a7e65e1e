"""Prints how many checks a second each algorithm makes on each backend: backend, algorithm, rate.

Arguments: a folder for a database, the port of a Redis server, or 0, and seconds for each figure.
"""

import sys
import time

import ratelimiter

ALGORITHMS = {
    "fixed window": ratelimiter.FixedWindowRateLimiter,
    "sliding window log": ratelimiter.SlidingWindowRateLimiter,
    "sliding window counter": ratelimiter.SlidingWindowCounterRateLimiter,
    "token bucket": ratelimiter.TokenBucketRateLimiter,
    "leaky bucket": ratelimiter.LeakyBucketRateLimiter,
    "adaptive hybrid": ratelimiter.AdaptiveRateLimiter,
}


def redis_backend(port):
    import redis
    from ratelimiter.backends.redis_backend import RedisBackend

    return RedisBackend(redis.Redis(host="127.0.0.1", port=port))


def rate(limiter, seconds):
    began, asked = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        for _ in range(10):
            limiter.is_allowed("user:42")
        asked += 10
    return asked / (time.perf_counter() - began)


def main(folder, port, seconds):
    backends = {
        "memory": ratelimiter.MemoryBackend,
        "sqlite": lambda: ratelimiter.SQLiteBackend(folder + "/original.db"),
    }
    if port:
        backends["redis"] = lambda: redis_backend(port)
    for backend, make in backends.items():
        for algorithm, limiter in ALGORITHMS.items():
            try:
                figure = rate(limiter(make(), limit=1_000_000, window=60), seconds)
            except Exception as error:
                print(f"{backend}, {algorithm}: {error!r}", file=sys.stderr)
            else:
                print(f"{backend},{algorithm},{figure}", flush=True)


main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
