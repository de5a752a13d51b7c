"""Where files come from: wheels, checksums, the cache, conversions, the pairing check and the doctor."""
