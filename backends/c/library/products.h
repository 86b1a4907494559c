/* ---- sums of products; images are [H, W, C] --------------------------------------------------- */

QB_INLINE uint32_t qb_dot(const uint8_t *x, const int8_t *w, int32_t n, uint32_t sum) {
  int32_t k = 0;
#ifdef QB_SMLAD
  int32_t fast = qb_signed(sum);
  for (; k + 4 <= n; k += 4) {
    uint32_t p, u;
    __builtin_memcpy(&p, x + k, 4);
    __builtin_memcpy(&u, w + k, 4);
    fast = __smlad(__uxtb16(p), __sxtb16(u), fast);
    fast = __smlad(__uxtb16((p >> 8) | (p << 24)), __sxtb16((u >> 8) | (u << 24)), fast);
  }
  sum = (uint32_t)fast;
#endif
  for (; k < n; k++) sum += (uint32_t)((int32_t)x[k] * (int32_t)w[k]);
  return sum;
}

/* Two inputs by two filters: each byte that is loaded serves two products. */
QB_INLINE void qb_dot_2x2(const uint8_t *x0, const uint8_t *x1, const int8_t *w0, const int8_t *w1,
                          int32_t n, uint32_t *sums) {
  int32_t k = 0;
  uint32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
#ifdef QB_SMLAD
  int32_t e = qb_signed(a), f = qb_signed(b), g = qb_signed(c), h = qb_signed(d);
  for (; k + 4 <= n; k += 4) {
    uint32_t p, q, u, v;
    __builtin_memcpy(&p, x0 + k, 4);
    __builtin_memcpy(&q, x1 + k, 4);
    __builtin_memcpy(&u, w0 + k, 4);
    __builtin_memcpy(&v, w1 + k, 4);
    {
      const uint16x2_t p0 = __uxtb16(p), p1 = __uxtb16((p >> 8) | (p << 24));
      const uint16x2_t q0 = __uxtb16(q), q1 = __uxtb16((q >> 8) | (q << 24));
      const int16x2_t u0 = __sxtb16(u), u1 = __sxtb16((u >> 8) | (u << 24));
      const int16x2_t v0 = __sxtb16(v), v1 = __sxtb16((v >> 8) | (v << 24));
      e = __smlad(p1, u1, __smlad(p0, u0, e));
      f = __smlad(p1, v1, __smlad(p0, v0, f));
      g = __smlad(q1, u1, __smlad(q0, u0, g));
      h = __smlad(q1, v1, __smlad(q0, v0, h));
    }
  }
  a = (uint32_t)e, b = (uint32_t)f, c = (uint32_t)g, d = (uint32_t)h;
#endif
  for (; k < n; k++) {
    const int32_t p = x0[k], q = x1[k], u = w0[k], v = w1[k];
    a += (uint32_t)(p * u), b += (uint32_t)(p * v);
    c += (uint32_t)(q * u), d += (uint32_t)(q * v);
  }
  sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
}

/* A convolution, or a linear layer: a convolution of one position with one tap. */
typedef struct {
  const int8_t *weight;  /* [O, taps, C / groups] */
  const int32_t *wz;     /* zero points of the weights [O]; NULL if all are 0 */
  int32_t xz, h, w, c, o, groups, kh, kw, sh, sw, dh, dw, top, left, oh, ow;
  int32_t ph, pw; /* of the maxima that are taken of each window; 1, 1 if none are */
} qb_conv;

typedef struct {
  const uint8_t *at; /* kh runs of kw * C codes, one `line` apart */
  int32_t line;
} qb_patch;

/* The codes under a position's taps: where they are if they lie together, or else copied. */
QB_FUNCTION qb_patch qb_patch_at(const qb_conv *d, const uint8_t *x, int32_t position,
                                 int32_t group, uint8_t *copy) {
  const int32_t y = position / d->ow * d->sh - d->top, q = position % d->ow * d->sw - d->left;
  const int32_t inputs = d->c / d->groups, run = d->kw * inputs;
  qb_patch patch;
  int32_t i, j, k;
  if (d->groups == 1 && d->dw == 1 && y >= 0 && q >= 0 && y + (d->kh - 1) * d->dh < d->h &&
      q + d->kw <= d->w) {
    patch.at = x + (y * d->w + q) * d->c;
    patch.line = d->dh * d->w * d->c;
    return patch;
  }
  patch.at = copy;
  patch.line = run;
  for (i = 0; i < d->kh; i++)
    for (j = 0; j < d->kw; j++) {
      const int32_t v = y + i * d->dh, u = q + j * d->dw;
      if (v < 0 || v >= d->h || u < 0 || u >= d->w) {
        for (k = 0; k < inputs; k++) *copy++ = (uint8_t)d->xz;
      } else {
        const uint8_t *from = x + (v * d->w + u) * d->c + group * inputs;
        for (k = 0; k < inputs; k++) *copy++ = from[k];
      }
    }
  return patch;
}

QB_FUNCTION uint32_t qb_total(const qb_conv *d, qb_patch p) {
  const int32_t run = d->kw * (d->c / d->groups);
  uint32_t sum = 0;
  int32_t i, k;
  for (i = 0; i < d->kh; i++)
    for (k = 0; k < run; k++) sum += p.at[i * p.line + k];
  return sum;
}

/* sums[4] of two patches by filters n and n + 1; `two` is 0 at an odd last filter. */
QB_INLINE void qb_block(const qb_conv *d, const int32_t *offset, qb_patch p, qb_patch q, int32_t n, int32_t two,
                        const uint32_t *totals, uint32_t *sums) {
  const int32_t run = d->kw * (d->c / d->groups), taps = d->kh * run;
  const int8_t *w = d->weight + (ptrdiff_t)n * taps, *v = two != 0 ? w + taps : w;
  int32_t i;
  sums[0] = sums[2] = (uint32_t)offset[n];
  sums[1] = sums[3] = (uint32_t)offset[n + two];
  for (i = 0; i < d->kh; i++)
    qb_dot_2x2(p.at + i * p.line, q.at + i * q.line, w + i * run, v + i * run, run, sums);
  if (d->wz != NULL) {
    const uint32_t z = (uint32_t)d->wz[n], y = (uint32_t)d->wz[n + two];
    sums[0] -= z * totals[0], sums[1] -= y * totals[0];
    sums[2] -= z * totals[1], sums[3] -= y * totals[1];
  }
}

/* x codes [H, W, C] -> out [OH / ph, OW / pw, O]. offset [O]: the bias, and the constant terms of
 * equation (2). Scratch: copy [2, taps * C / groups], best [O / groups]. */
QB_FUNCTION void qb_convolve(const qb_conv *d, const int32_t *offset, const qb_end *e,
                             const uint8_t *x, uint8_t *copy, int32_t *best, void *out) {
  const int32_t inputs = d->c / d->groups, outputs = d->o / d->groups;
  const int32_t taps = d->kh * d->kw * inputs, wide = d->ow / d->pw, window = d->ph * d->pw;
  const int32_t windows = d->oh / d->ph * wide;
  const int32_t pooled = window > 1, turns = pooled ? windows : (windows + 1) / 2;
  int32_t turn, group, i, n;
  for (turn = 0; turn < turns; turn++)
    for (group = 0; group < d->groups; group++) {
      const int32_t first = group * outputs, count = pooled ? window : windows - 2 * turn;
      const int32_t end = pooled ? count : (count < 2 ? count : 2);
      if (pooled)
        for (n = 0; n < outputs; n++) best[n] = INT32_MIN;
      for (i = 0; i < end; i += 2) {
        const int32_t other = i + 1 < end;
        const int32_t corner = turn / wide * d->ph * d->ow + turn % wide * d->pw;
        const int32_t a = pooled ? corner + i / d->pw * d->ow + i % d->pw : 2 * turn;
        const int32_t b = !other ? a : pooled ? corner + (i + 1) / d->pw * d->ow + (i + 1) % d->pw : a + 1;
        const qb_patch p = qb_patch_at(d, x, a, group, copy);
        const qb_patch q = other ? qb_patch_at(d, x, b, group, copy + taps) : p;
        uint32_t totals[2] = {0, 0};
        if (d->wz != NULL) totals[0] = qb_total(d, p), totals[1] = qb_total(d, q);
        for (n = 0; n < outputs; n += 2) {
          const int32_t two = n + 1 < outputs;
          uint32_t sums[4];
          int32_t s[4];
          qb_block(d, offset, p, q, first + n, two, totals, sums);
          s[0] = qb_signed(sums[0]), s[1] = qb_signed(sums[1]);
          s[2] = qb_signed(sums[2]), s[3] = qb_signed(sums[3]);
          if (pooled) {
            const int32_t left = s[0] > s[2] ? s[0] : s[2], right = s[1] > s[3] ? s[1] : s[3];
            if (left > best[n]) best[n] = left;
            if (two && right > best[n + 1]) best[n + 1] = right;
          } else {
            qb_finish(e, s[0], a, first + n, out);
            if (two) qb_finish(e, s[1], a, first + n + 1, out);
            if (other) qb_finish(e, s[2], b, first + n, out);
            if (other && two) qb_finish(e, s[3], b, first + n + 1, out);
          }
        }
      }
      if (pooled)
        for (n = 0; n < outputs; n++) qb_finish(e, best[n], turn, first + n, out);
    }
}

/* One vector by a weight [O, K]; columns need no copy. */
QB_FUNCTION void qb_linear(const qb_conv *d, const int32_t *offset, const qb_end *e,
                           const uint8_t *x, void *out) {
  uint32_t total = 0;
  int32_t n, k;
  if (d->wz != NULL)
    for (k = 0; k < d->c; k++) total += x[k];
  for (n = 0; n < d->o; n++) {
    uint32_t sum = qb_dot(x, d->weight + (ptrdiff_t)n * d->c, d->c, (uint32_t)offset[n]);
    if (d->wz != NULL) sum -= (uint32_t)d->wz[n] * total;
    qb_finish(e, qb_signed(sum), 0, n, out);
  }
}
