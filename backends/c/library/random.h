/* ---- random numbers: splitmix64, by counters; docs/semantics.md, section 5 -------------------- */

#define QB_GOLDEN UINT64_C(0x9E3779B97F4A7C15)

QB_FUNCTION uint64_t qb_derive(uint64_t parent, uint64_t index) {
  uint64_t z = parent + QB_GOLDEN * (index + 1u);
  z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
  return z ^ (z >> 31);
}

QB_INLINE uint64_t qb_sample_key(uint64_t seed, uint32_t stream, uint64_t sample) {
  return qb_derive(qb_derive(seed, stream), sample);
}

/* keep[i] = 1 where lane i reaches the threshold; `inverted` is 1 for the complement. */
QB_FUNCTION void qb_keep(uint64_t key, uint64_t row, int32_t n, uint32_t threshold,
                         uint32_t inverted, uint8_t *keep) {
  const uint64_t words = ((uint64_t)n + 3u) / 4u;
  uint64_t number = row * words, word = 0;
  int32_t i;
  for (i = 0; i < n; i++) {
    if ((i & 3) == 0) word = qb_derive(key, number++);
    keep[i] = (uint8_t)(((uint32_t)(word & 0xFFFFu) >= threshold ? 1u : 0u) ^ inverted);
    word >>= 16;
  }
}
