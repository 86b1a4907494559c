/* ---- sampled weights: docs/semantics.md, section 6 -------------------------------------------- */

/* The code of N(0, 1) of a lane. A byte of the lane starts the search, which takes a step or none
 * except in the tails: 766 bytes in place of 65,536. */
QB_FUNCTION int32_t qb_eps(uint32_t lane) {
  int32_t code = qb_eps_start[lane >> 8];
  while (code < 127 && lane >= qb_eps_least[code + 128]) code++;
  return code;
}

typedef struct {
  const int8_t *mu, *sigma;  /* [N, K] */
  const int32_t *ratio;      /* R, by `ratio_step` */
  const float *divisor;      /* r, by `divisor_step` */
  const uint32_t *lanes;     /* of each element [N, K], or NULL: in order */
  const int32_t *multiplier; /* [N]: (t * multiplier + addend) >> shift is the rounding that it is */
  const int64_t *addend;     /* proved to be; a multiplier of 0: not proved, so divide */
  const uint8_t *shift;
  const int32_t *z; /* by `z_step` */
  int32_t n, k, ratio_step, divisor_step, z_step, lo, hi;
  uint32_t stream;
} qb_sampled;

/* Codes less their zero point of elements [n, 0..K-1]: i16 holds those of any zero point. */
QB_INLINE int32_t qb_draw(const qb_sampled *d, uint64_t key, uint64_t *word, int32_t n, int32_t k) {
  const int32_t element = n * d->k + k;
  const uint32_t lane = d->lanes != NULL ? d->lanes[element] : (uint32_t)element;
  const int32_t z = d->z[n * d->z_step];
  int32_t t, code;
  if (k == 0 || d->lanes != NULL || (lane & 3u) == 0)
    *word = qb_derive(key, lane >> 2) >> (16u * (lane & 3u));
  t = qb_eps((uint32_t)(*word & 0xFFFFu)) * d->sigma[element] +
      d->ratio[n * d->ratio_step] * d->mu[element];
  *word >>= 16;
  if (d->multiplier != NULL && d->multiplier[n] != 0) {
    const int64_t scaled = (int64_t)t * d->multiplier[n] + d->addend[n];
    const int64_t whole = scaled >= 0 ? scaled >> d->shift[n] : -((-scaled - 1) >> d->shift[n]) - 1;
    code = (int32_t)whole;
    return code < d->lo - z ? d->lo - z : code > d->hi - z ? d->hi - z : code;
  }
  return qb_round((float)t / d->divisor[n * d->divisor_step], (float)(d->lo - z),
                  (float)(d->hi - z));
}

/* A sampled bias [N]; `plus` [N] is added to it, or NULL. */
QB_FUNCTION void qb_draw_bias(const qb_sampled *d, const int32_t *plus, uint64_t seed,
                              uint64_t sample, int32_t *out) {
  const uint64_t key = qb_sample_key(seed, d->stream, sample);
  uint64_t word = 0;
  int32_t n;
  for (n = 0; n < d->n; n++) {
    const int32_t bias = qb_draw(d, key, &word, n, 0) + d->z[n * d->z_step];
    out[n] = plus != NULL ? qb_signed((uint32_t)bias + (uint32_t)plus[n]) : bias;
  }
}

QB_INLINE uint32_t qb_dot_wide(const uint8_t *x, const int16_t *w, int32_t n) {
  uint32_t sum = 0;
  int32_t k;
  for (k = 0; k < n; k++) sum += (uint32_t)((int32_t)x[k] * (int32_t)w[k]);
  return sum;
}

/* Filter by filter: draw its weights into `filter` [taps * C / groups], and use them at once. In
 * this order a weight is drawn once a sample, and never stored. */
QB_FUNCTION void qb_convolve_sampled(const qb_conv *d, const qb_sampled *s, const qb_end *e,
                                     const int32_t *bias, uint64_t seed, uint64_t sample,
                                     const uint8_t *x, uint8_t *copy, int16_t *filter, void *out) {
  const int32_t inputs = d->c / d->groups, outputs = d->o / d->groups, run = d->kw * inputs;
  const int32_t wide = d->ow / d->pw, window = d->ph * d->pw;
  const uint64_t key = qb_sample_key(seed, s->stream, sample);
  uint64_t word = 0;
  int32_t n, c, i, j, turn;
  for (n = 0; n < d->o; n++) {
    uint32_t sum = 0;
    for (c = 0; c < inputs; c++) /* lanes are in PyTorch's order, filters in [taps, C] */
      for (i = 0; i < d->kh; i++)
        for (j = 0; j < d->kw; j++) {
          const int32_t k = (c * d->kh + i) * d->kw + j;
          const int32_t weight = qb_draw(s, key, &word, n, k);
          filter[(i * d->kw + j) * inputs + c] = (int16_t)weight;
          sum += (uint32_t)weight;
        }
    sum = (uint32_t)bias[n] - (uint32_t)d->xz * sum;
    for (turn = 0; turn < d->oh / d->ph * wide; turn++) {
      int32_t best = INT32_MIN;
      for (i = 0; i < window; i++) {
        const int32_t p = (turn / wide * d->ph + i / d->pw) * d->ow + turn % wide * d->pw + i % d->pw;
        const qb_patch patch = qb_patch_at(d, x, p, n / outputs, copy);
        uint32_t acc = sum;
        int32_t total;
        for (j = 0; j < d->kh; j++)
          acc += qb_dot_wide(patch.at + j * patch.line, filter + j * run, run);
        total = qb_signed(acc);
        if (total > best) best = total;
      }
      qb_finish(e, best, turn, n, out);
    }
  }
}
