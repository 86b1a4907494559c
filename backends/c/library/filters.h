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
/* One filter [taps * C / groups] of output n at every position; sums begin with `start`. */
QB_INLINE void qb_convolve_filter(const qb_conv *d, const qb_end *e, const int16_t *filter,
                                  uint32_t start, int32_t n, const uint8_t *x, uint8_t *copy,
                                  void *out) {
  const int32_t run = d->kw * (d->c / qb_groups(d)), outputs = d->o / qb_groups(d);
  const int32_t turns = d->oh / d->ph * (d->ow / d->pw), window = d->ph * d->pw;
  int32_t i, j, turn;
  for (turn = 0; turn < turns; turn++) {
    int32_t best = INT32_MIN;
    for (i = 0; i < window; i++) {
      const int32_t position = window > 1 ? qb_position(d, turn, i) : turn;
      const qb_patch patch = qb_patch_at(d, x, position, n / outputs, copy);
      uint32_t acc = start;
      int32_t total;
      for (j = 0; j < d->kh; j++)
        acc = qb_dot_filter(patch.at + j * patch.line, filter + j * run, run, acc);
      total = qb_signed(acc);
      if (total > best) best = total;
    }
    qb_finish(e, &best, 1, turn, n, out);
  }
}
