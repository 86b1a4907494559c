/* ---- random numbers: splitmix64, by counters; docs/semantics.md, section 5 ------------------- */

#define QB_GOLDEN UINT64_C(0x9E3779B97F4A7C15)

QB_FUNCTION uint64_t qb_derive(uint64_t parent, uint64_t index) {
  uint64_t z = parent + QB_GOLDEN * (index + 1u);
  z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
  return z ^ (z >> 31);
}

QB_FUNCTION uint64_t qb_sample_key(uint64_t seed, uint32_t stream, uint64_t sample) {
  return qb_derive(qb_derive(seed, stream), sample);
}

/* keep[i] = 1 where lane i reaches the threshold; `inverted` is 1 for the complement. */
QB_FUNCTION void qb_keep(uint64_t key, uint64_t row, int32_t n, uint32_t threshold,
                         uint32_t inverted, uint8_t *keep) {
  uint64_t number = row * (((uint64_t)n + 3u) / 4u);
  uint32_t half = 0, other = 0; /* of a word: two lanes each */
  int32_t i;
  for (i = 0; i < n; i++) {
    if ((i & 3) == 0) {
      const uint64_t word = qb_derive(key, number++);
      half = (uint32_t)word, other = (uint32_t)(word >> 32);
    } else if ((i & 1) == 0) {
      half = other;
    }
    keep[i] = (uint8_t)(((half & 0xFFFFu) >= threshold ? 1u : 0u) ^ inverted);
    half >>= 16;
  }
}
