QB_INLINE uint32_t qb_dot_filter(const uint8_t *x, const int16_t *w, int32_t n, uint32_t sum) {
  int32_t k = 0;
#if defined(QB_SMLAD)
  int32_t fast = qb_signed(sum);
  for (; k + 4 <= n; k += 4) {
    const uint32_t p = qb_word(x + k), u = qb_word(w + k), v = qb_word(w + k + 2);
    fast = QB_MAC(QB_CODES_EVEN(p), qb_lows(u, v), fast);
    fast = QB_MAC(QB_CODES_ODD(p), qb_highs(u, v), fast);
  }
  sum = (uint32_t)fast;
#endif
  for (; k < n; k++) sum += (uint32_t)((int32_t)x[k] * (int32_t)w[k]);
  return sum;
}
