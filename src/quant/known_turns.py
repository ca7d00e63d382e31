"""The turns of rotary positions to 60 digits (mpmath): what frequencies_tests.rs compares with.

    python3 src/quant/known_turns.py > src/quant/known_turns.txt

One line for each base and scaling: the base, the scaling, and the 64 turns of a head of 128 lanes,
round(2^64 * frequency / 2 pi), in hexadecimal. A head of 64 has every second of them. The last line's
scaling of these has a factor for each pair, those of llama3 at this base rounded to float32, as bits. Then follow those of
yarn, whose ramp is over pairs: with whole pairs as its bounds, and with any.
"""

import struct

from mpmath import ceil, floor, log, mp, mpf, nint, pi

mp.dps = 60
WIDTH = 128


def unscaled(f):
    return f


def linear(f):
    return f / 4


def llama3(f, factor=mpf(8), low=mpf(1), high=mpf(4), original=mpf(8192)):
    kept = min(max((original * f / (2 * pi) - low) / (high - low), mpf(0)), mpf(1))
    return (1 - kept) * f / factor + kept * f


def turn(f):
    return f"{int(nint(2**64 * f / (2 * pi))):x}"


def frequencies(theta):
    return [mpf(theta) ** (-mpf(2 * m) / WIDTH) for m in range(WIDTH // 2)]


for theta in [10_000, 100_000, 500_000, 1_000_000, 8_000_000]:
    for scaling in [unscaled, linear, llama3]:
        print(theta, scaling.__name__, *(turn(scaling(f)) for f in frequencies(theta)))

plain = frequencies(500_000)
bits = [struct.pack(">f", f / llama3(f)).hex() for f in plain]
factors = [mpf(struct.unpack(">f", bytes.fromhex(b))[0]) for b in bits]
print(500_000, "factors:" + ",".join(bits), *(turn(f / factor) for f, factor in zip(plain, factors)))


def yarn(f, m, theta, truncate, factor=mpf(4), fast=32, slow=1, original=32_768):
    low, high = (WIDTH * log(original / (turns * 2 * pi)) / (2 * log(theta)) for turns in [fast, slow])
    if truncate:
        low, high = floor(low), ceil(high)
    low, high = max(low, mpf(0)), min(high, mpf(WIDTH - 1))
    ramp = min(max((m - low) / (high - low), mpf(0)), mpf(1))
    return (1 - ramp) * f + ramp * f / factor


for theta in [10_000, 1_000_000]:
    for name, truncate in [("yarn", True), ("yarn-ramp", False)]:
        turns = (turn(yarn(f, m, theta, truncate)) for m, f in enumerate(frequencies(theta)))
        print(theta, name, *turns)
