/* ---- noise on activations: docs/semantics.md, section 5 -------------------------------------- */

typedef struct {
  const uint16_t *thresholds; /* [count], in rising order: the first lane of each code */
  int32_t count, first;       /* the code of lanes below all of them */
  int32_t channels, plane, at_channel, at_element; /* lanes are in the order [channels, plane] */
  uint32_t inverted;                               /* 65535: the lanes of a falling function; or 0 */
} qb_noise;

/* How many thresholds a lane reaches. The steps of the search are the same for all lanes: 510 bytes
 * at most in place of a table of 65,536. */
QB_INLINE int32_t qb_reached(const uint16_t *thresholds, int32_t count, uint32_t lane) {
  const uint16_t *t = thresholds;
  while (count > 1) {
    const int32_t half = count / 2;
    t += t[half - 1] <= lane ? half : 0;
    count -= half;
  }
  return (int32_t)(t - thresholds) + (count != 0 && *t <= lane ? 1 : 0);
}

QB_FUNCTION void qb_noise_codes(const qb_noise *d, uint64_t key, uint64_t row, uint8_t *out) {
  const int32_t n = d->channels * d->plane;
  uint64_t number = row * (((uint64_t)n + 3u) / 4u), word = 0;
  int32_t c, i, lane = 0;
  for (c = 0; c < d->channels; c++)
    for (i = 0; i < d->plane; i++) {
      if ((lane++ & 3) == 0) word = qb_derive(key, number++);
      out[c * d->at_channel + i * d->at_element] =
          (uint8_t)(d->first + qb_reached(d->thresholds, d->count,
                                          ((uint32_t)word & 0xFFFFu) ^ d->inverted));
      word >>= 16;
    }
}
