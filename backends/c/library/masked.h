/* ---- layers behind dropout: the sums of all inputs, less those of what is dropped -------------- */

/* acc[n] += x0 w0[n] + x1 w1[n] + x2 w2[n] + x3 w3[n], mod 2^32 */
QB_INLINE void qb_add_columns(const int32_t *x, const int8_t *const *w, int32_t n, int32_t *acc) {
  const int32_t a = x[0], b = x[1], c = x[2], d = x[3];
  const int8_t *p = w[0], *q = w[1], *r = w[2], *s = w[3];
  int32_t i;
  for (i = 0; i < n; i++)
    acc[i] = qb_signed((uint32_t)acc[i] + (uint32_t)(a * p[i] + b * q[i] + c * r[i] + d * s[i]));
}

typedef struct {
  const int8_t *w[4];
  int32_t x[4], held;
} qb_columns;

QB_INLINE void qb_flush(qb_columns *c, int32_t n, int32_t *acc) {
  int32_t i;
  if (c->held == 0) return;
  for (i = c->held; i < 4; i++) c->x[i] = 0, c->w[i] = c->w[0];
  qb_add_columns(c->x, c->w, n, acc);
  c->held = 0;
}

QB_INLINE void qb_column(qb_columns *c, int32_t x, const int8_t *w, int32_t n, int32_t *acc) {
  if (x == 0) return;
  c->x[c->held] = x, c->w[c->held] = w;
  if (++c->held == 4) qb_flush(c, n, acc);
}

/* Linear: weight [K, O]. sums [O] of all inputs; later acc = sums - what is dropped. */
QB_FUNCTION void qb_linear_sums(const qb_conv *d, const int32_t *offset, const uint8_t *x,
                                int32_t *sums) {
  qb_columns columns;
  int32_t k, n;
  columns.held = 0;
  for (n = 0; n < d->o; n++) sums[n] = offset[n];
  for (k = 0; k < d->c; k++) qb_column(&columns, x[k], d->weight + (ptrdiff_t)k * d->o, d->o, sums);
  qb_flush(&columns, d->o, sums);
}

QB_FUNCTION void qb_linear_masked(const qb_conv *d, const qb_end *e, const uint8_t *x,
                                  const uint8_t *keep, const int32_t *sums, int32_t *acc,
                                  void *out) {
  qb_columns columns;
  int32_t k, n;
  columns.held = 0;
  for (n = 0; n < d->o; n++) acc[n] = sums[n];
  for (k = 0; k < d->c; k++)
    if (keep[k] == 0)
      qb_column(&columns, d->xz - x[k], d->weight + (ptrdiff_t)k * d->o, d->o, acc);
  qb_flush(&columns, d->o, acc);
  for (n = 0; n < d->o; n++) qb_finish(e, acc[n], 0, n, out);
}

/* acc [O] += sign * the part of one input channel at a position: weight [C, taps, O]. Codes count
 * from xz, so that places outside of the image add nothing. */
QB_INLINE void qb_channel_part(const qb_conv *d, const uint8_t *x, int32_t position,
                               int32_t channel, int32_t sign, int32_t *acc) {
  const int32_t y = position / d->ow * d->sh - d->top, q = position % d->ow * d->sw - d->left;
  const int8_t *w = d->weight + (ptrdiff_t)channel * d->kh * d->kw * d->o;
  qb_columns columns;
  int32_t i, j;
  columns.held = 0;
  for (i = 0; i < d->kh; i++)
    for (j = 0; j < d->kw; j++, w += d->o) {
      const int32_t v = y + i * d->dh, u = q + j * d->dw;
      if (v < 0 || v >= d->h || u < 0 || u >= d->w) continue;
      qb_column(&columns, sign * (x[(v * d->w + u) * d->c + channel] - d->xz), w, d->o, acc);
    }
  qb_flush(&columns, d->o, acc);
}

/* sums [positions, O] of all channels; parts [C, positions, O] of each, or NULL. The offsets hold
 * what the codes xz give. */
QB_FUNCTION void qb_conv_sums(const qb_conv *d, const int32_t *offset, const uint8_t *x,
                              int32_t *sums, int32_t *parts) {
  const int32_t positions = d->oh * d->ow;
  int32_t p, c, n;
  for (p = 0; p < positions; p++) {
    int32_t *sum = sums + (ptrdiff_t)p * d->o;
    for (n = 0; n < d->o; n++) sum[n] = offset[n];
    for (c = 0; c < d->c; c++) {
      if (parts != NULL) {
        int32_t *part = parts + ((ptrdiff_t)c * positions + p) * d->o;
        for (n = 0; n < d->o; n++) part[n] = 0;
        qb_channel_part(d, x, p, c, 1, part);
        for (n = 0; n < d->o; n++) sum[n] = qb_signed((uint32_t)sum[n] + (uint32_t)part[n]);
      } else {
        qb_channel_part(d, x, p, c, 1, sum);
      }
    }
  }
}

QB_FUNCTION void qb_conv_masked(const qb_conv *d, const qb_end *e, const uint8_t *x,
                                const uint8_t *keep, const int32_t *sums, const int32_t *parts,
                                int32_t *acc, int32_t *best, void *out) {
  const int32_t positions = d->oh * d->ow, wide = d->ow / d->pw, window = d->ph * d->pw;
  int32_t turn, i, c, n;
  for (turn = 0; turn < d->oh / d->ph * wide; turn++) {
    for (n = 0; n < d->o; n++) best[n] = INT32_MIN;
    for (i = 0; i < window; i++) {
      const int32_t p = (turn / wide * d->ph + i / d->pw) * d->ow + turn % wide * d->pw + i % d->pw;
      const int32_t *sum = sums + (ptrdiff_t)p * d->o;
      for (n = 0; n < d->o; n++) acc[n] = sum[n];
      for (c = 0; c < d->c; c++) {
        if (keep[c] != 0) continue;
        if (parts != NULL) {
          const int32_t *part = parts + ((ptrdiff_t)c * positions + p) * d->o;
          for (n = 0; n < d->o; n++) acc[n] = qb_signed((uint32_t)acc[n] - (uint32_t)part[n]);
        } else {
          qb_channel_part(d, x, p, c, -1, acc);
        }
      }
      for (n = 0; n < d->o; n++)
        if (acc[n] > best[n]) best[n] = acc[n];
    }
    for (n = 0; n < d->o; n++) qb_finish(e, best[n], turn, n, out);
  }
}
