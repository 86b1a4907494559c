/* Filter by filter: draw its weights into `filter` [taps * C / groups], and use them at once. In
 * this order a weight is drawn once a sample, and never stored. */
QB_FUNCTION void qb_convolve_sampled(const qb_conv *d, const qb_sampled *s, const qb_end *e,
                                     const int32_t *bias, uint64_t seed, uint64_t sample,
                                     const uint8_t *x, uint8_t *copy, int16_t *filter, void *out) {
  const int32_t inputs = d->c / qb_groups(d), taps = d->kh * d->kw;
  const uint64_t key = qb_sample_key(seed, s->stream, sample);
  int32_t n, c, t;
  for (n = 0; n < d->o; n++) {
    qb_drawing r = qb_drawing_of(s, key, n);
    uint32_t sum = 0;
    for (c = 0; c < inputs; c++) /* lanes are in PyTorch's order, filters in [taps, C] */
      for (t = 0; t < taps; t++) {
        const int32_t k = (n * inputs + c) * taps + t;
        const uint32_t lane = s->lanes != NULL ? s->lanes[k] : (uint32_t)k;
        const int32_t weight = qb_draw(&r, lane, s->mu[k], s->sigma[k]);
        filter[t * inputs + c] = (int16_t)weight;
        sum += (uint32_t)weight;
      }
    sum = (uint32_t)bias[n] - (uint32_t)d->xz * sum;
    qb_convolve_filter(d, e, filter, sum, n, x, copy, out);
  }
}
