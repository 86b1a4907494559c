/* ---- weights under a mask (DropConnect): docs/semantics.md, section 6 ------------------------ */

/* The mask of a weight [N, C, kh, kw]. Element (n, c, i, j) has the number start + n * at_output +
 * c * at_input + i * at_row + j * at_column: of its lane, or of its byte if the mask is drawn. */
typedef struct {
  uint32_t lanes, threshold, inverted;
  int32_t start, at_output, at_input, at_row, at_column;
  int32_t xz; /* codes count from here; 0 if the bias has the terms of the zero point */
} qb_dropping;

typedef struct {
  const uint8_t *keep; /* a mask that is drawn, or NULL */
  uint64_t key, first, word;
  uint32_t held, threshold, inverted; /* held: the number of `word` */
} qb_keeping;

QB_INLINE qb_keeping qb_keeping_of(const qb_dropping *d, uint64_t key, uint64_t row,
                                   const uint8_t *keep) {
  qb_keeping r;
  r.keep = keep;
  r.key = key;
  r.first = row * (((uint64_t)d->lanes + 3u) / 4u);
  r.word = 0;
  r.held = UINT32_MAX;
  r.threshold = d->threshold;
  r.inverted = d->inverted;
  return r;
}

/* 1 if a mask keeps an element, else 0 */
QB_INLINE int32_t qb_keeps(qb_keeping *r, int32_t element) {
  const uint32_t lane = (uint32_t)element;
  uint32_t half;
  if (r->keep != NULL) return r->keep[element] != 0 ? 1 : 0;
  if (lane >> 2 != r->held) {
    r->held = lane >> 2;
    r->word = qb_derive(r->key, r->first + r->held);
  }
  half = (lane & 2u) != 0u ? (uint32_t)(r->word >> 32) : (uint32_t)r->word;
  half = (lane & 1u) != 0u ? half >> 16 : half & 0xFFFFu;
  return (int32_t)((half >= r->threshold ? 1u : 0u) ^ r->inverted);
}

/* One vector by a weight [O, K]. The mask is drawn on the way, where an input is not zero. */
QB_FUNCTION void qb_linear_dropped(const qb_conv *d, const qb_dropping *m, const qb_end *e,
                                   const int32_t *bias, uint64_t key, uint64_t row,
                                   const uint8_t *keep, const uint8_t *x, void *out) {
  qb_keeping r = qb_keeping_of(m, key, row, keep);
  const int32_t inputs = d->c, xz = m->xz;
  const int8_t *w = d->weight;
  int32_t n, k;
  for (n = 0; n < d->o; n++) {
    const int32_t wz = qb_shifted(d) ? d->wz[n] : 0;
    int32_t sum = bias[n], at = m->start + n * m->at_output;
    for (k = 0; k < inputs; k++, w++, at += m->at_input) {
      const int32_t code = x[k] - xz;
      if (code == 0 || qb_keeps(&r, at) == 0) continue;
      sum = qb_signed((uint32_t)sum + (uint32_t)(code * (*w - wz)));
    }
    qb_finish(e, &sum, 1, 0, n, out);
  }
}

/* Put the weights [C, kh, kw] of filter n that are kept into `filter` [kh, kw, C]; return their
 * sum. */
QB_FUNCTION uint32_t qb_kept_filter(const qb_conv *d, const qb_dropping *m, qb_keeping *r,
                                    int32_t n, int16_t *filter) {
  const int32_t inputs = d->c / qb_groups(d), wz = qb_shifted(d) ? d->wz[n] : 0;
  const int8_t *w = d->weight + (ptrdiff_t)n * inputs * d->kh * d->kw;
  uint32_t sum = 0;
  int32_t c, i, j;
  for (c = 0; c < inputs; c++)
    for (i = 0; i < d->kh; i++) {
      int32_t at = m->start + n * m->at_output + c * m->at_input + i * m->at_row;
      int16_t *to = filter + i * d->kw * inputs + c;
      for (j = 0; j < d->kw; j++, w++, at += m->at_column, to += inputs) {
        const int32_t weight = qb_keeps(r, at) != 0 ? *w - wz : 0;
        *to = (int16_t)weight;
        sum += (uint32_t)weight;
      }
    }
  return sum;
}

/* Filter by filter, as of sampled weights: a lane is drawn once a sample. */
QB_FUNCTION void qb_convolve_dropped(const qb_conv *d, const qb_dropping *m, const qb_end *e,
                                     const int32_t *bias, uint64_t key, uint64_t row,
                                     const uint8_t *keep, const uint8_t *x, uint8_t *copy,
                                     int16_t *filter, void *out) {
  qb_keeping r = qb_keeping_of(m, key, row, keep);
  int32_t n;
  for (n = 0; n < d->o; n++) {
    const uint32_t kept = qb_kept_filter(d, m, &r, n, filter);
    const uint32_t start = (uint32_t)bias[n] - (uint32_t)m->xz * kept;
    qb_convolve_filter(d, e, filter, start, n, x, copy, out);
  }
}
