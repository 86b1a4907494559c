/* ---- sampled weights: docs/semantics.md, section 6 ------------------------------------------- */

typedef struct {
  const int8_t *mu, *sigma;  /* [N, K] */
  const int32_t *ratio;      /* R, by `ratio_step` */
  const float *divisor;      /* r, by `divisor_step` */
  const uint32_t *lanes;     /* of each element [N, K], or NULL: in order */
  const int32_t *multiplier; /* [N]: (t * multiplier + addend) >> shift is the rounding, */
  const int64_t *addend;     /* as is proved; a multiplier of 0: not proved, so divide */
  const uint8_t *shift;      /* 32 or more */
  const int32_t *z;          /* by `z_step` */
  int32_t n, k, ratio_step, divisor_step, z_step, lo, hi;
  uint32_t stream;
} qb_sampled;

/* The numbers of one output: they stay the same while its weights are drawn. */
typedef struct {
  uint64_t key, word;
  int64_t addend;
  float divisor;
  uint32_t held; /* the number of `word` */
  int32_t ratio, multiplier, shift, least, most;
} qb_drawing;

QB_INLINE qb_drawing qb_drawing_of(const qb_sampled *d, uint64_t key, int32_t n) {
  const int32_t z = d->z[n * d->z_step];
  qb_drawing r;
  r.key = key;
  r.word = 0;
  r.held = UINT32_MAX;
  r.ratio = d->ratio[n * d->ratio_step];
  r.divisor = d->divisor[n * d->divisor_step];
  r.multiplier = d->multiplier != NULL ? d->multiplier[n] : 0;
  r.addend = r.multiplier != 0 ? d->addend[n] : 0;
  r.shift = r.multiplier != 0 ? d->shift[n] - 32 : 0;
  r.least = d->lo - z;
  r.most = d->hi - z;
  return r;
}

/* The code of a weight less its zero point, from lane number `lane`. A byte of the lane starts the
 * search for its code of N(0, 1), which takes a step or none except in the tails: 766 bytes in
 * place of 65,536. */
QB_INLINE int32_t qb_draw(qb_drawing *r, uint32_t lane, int32_t mu, int32_t sigma) {
  uint32_t half, bits, eps;
  int32_t t, code;
  if (lane >> 2 != r->held) {
    r->held = lane >> 2;
    r->word = qb_derive(r->key, r->held);
  }
  half = (lane & 2u) != 0u ? (uint32_t)(r->word >> 32) : (uint32_t)r->word;
  bits = (lane & 1u) != 0u ? half >> 16 : half & 0xFFFFu;
  eps = qb_eps_start[bits >> 8];
  while (bits > qb_eps_last[eps]) eps++;
  t = ((int32_t)eps - 127) * sigma + r->ratio * mu;
  if (r->multiplier == 0)
    return qb_round((float)t / r->divisor, (float)r->least, (float)r->most);
  /* Half of 2^64 more, that the shift is one of a positive number. */
  half = (uint32_t)((uint64_t)((int64_t)t * r->multiplier + r->addend) >> 32) ^ 0x80000000u;
  code = (int32_t)((half >> r->shift) - (0x80000000u >> r->shift));
  return code < r->least ? r->least : code > r->most ? r->most : code;
}

/* A sampled bias [N]; `plus` [N] is added to it, or NULL. */
QB_FUNCTION void qb_draw_bias(const qb_sampled *d, const int32_t *plus, uint64_t seed,
                              uint64_t sample, int32_t *out) {
  const uint64_t key = qb_sample_key(seed, d->stream, sample);
  int32_t n;
  for (n = 0; n < d->n; n++) {
    const uint32_t lane = d->lanes != NULL ? d->lanes[n] : (uint32_t)n;
    qb_drawing r = qb_drawing_of(d, key, n);
    const int32_t bias = qb_draw(&r, lane, d->mu[n], d->sigma[n]) + d->z[n * d->z_step];
    out[n] = plus != NULL ? qb_signed((uint32_t)bias + (uint32_t)plus[n]) : bias;
  }
}

/* One vector by a weight [O, K] that is drawn on the way. What meets an input of zero is not. */
QB_FUNCTION void qb_linear_sampled(const qb_conv *d, const qb_sampled *s, const qb_end *e,
                                   const int32_t *bias, uint64_t seed, uint64_t sample,
                                   const uint8_t *x, void *out) {
  const uint64_t key = qb_sample_key(seed, s->stream, sample);
  const int32_t inputs = d->c, xz = d->xz;
  const int8_t *mu = s->mu, *sigma = s->sigma;
  const uint32_t *lanes = s->lanes;
  uint32_t lane = 0;
  int32_t n, k;
  for (n = 0; n < d->o; n++) {
    qb_drawing r = qb_drawing_of(s, key, n);
    int32_t sum = bias[n];
    for (k = 0; k < inputs; k++, lane++, mu++, sigma++) {
      const int32_t code = x[k] - xz;
      int32_t weight;
      if (code == 0) continue;
      weight = qb_draw(&r, lanes != NULL ? lanes[lane] : lane, *mu, *sigma);
      sum = qb_signed((uint32_t)sum + (uint32_t)(code * weight));
    }
    qb_finish(e, &sum, 1, 0, n, out);
  }
}
