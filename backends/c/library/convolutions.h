/* ---- convolutions ---------------------------------------------------------------------------- */

typedef struct {
  const uint8_t *at; /* kh runs of kw * C codes, one `line` apart */
  int32_t line;
} qb_patch;

/* Row and column of the corner of a position's window; places outside of the image are negative, or
 * beyond it. */
QB_INLINE void qb_corner(const qb_conv *d, int32_t position, int32_t *y, int32_t *q) {
  *y = position / d->ow;
  *q = (position - *y * d->ow) * d->sw - (QB_OUTSIDE ? d->left : 0);
  *y = *y * d->sh - (QB_OUTSIDE ? d->top : 0);
}

/* Whether no place of a window is outside. */
QB_INLINE int32_t qb_inside(const qb_conv *d, int32_t y, int32_t q) {
  if (!QB_OUTSIDE) return 1;
  return y >= 0 && q >= 0 && y + (d->kh - 1) * d->dh < d->h && q + (d->kw - 1) * d->dw < d->w;
}

/* Position `i` under maximum `turn`; without maxima a turn has two of all positions. */
QB_INLINE int32_t qb_position(const qb_conv *d, int32_t turn, int32_t i) {
  const int32_t wide = d->ow / d->pw, y = turn / wide, q = turn - y * wide, row = i / d->pw;
  if (!qb_pooled(d)) return 2 * turn + i;
  return (y * d->ph + row) * d->ow + q * d->pw + i - row * d->pw;
}

/* The codes under a position's taps: where they are if they lie together, or else copied. */
QB_FUNCTION qb_patch qb_patch_at(const qb_conv *d, const uint8_t *x, int32_t position,
                                 int32_t group, uint8_t *copy) {
  const int32_t inputs = d->c / qb_groups(d), run = d->kw * inputs;
  qb_patch patch;
  int32_t y, q, i, j, k, inside, together;
  qb_corner(d, position, &y, &q);
  inside = qb_inside(d, y, q);
  together = qb_groups(d) == 1 && d->dw == 1;
#if defined(QB_SMLAD)
  if (inside && together && (run & 3) == 0) {
#else
  if (inside && together) {
#endif
    patch.at = x + (y * d->w + q) * d->c;
    patch.line = d->dh * d->w * d->c;
    return patch;
  }
  patch.at = copy;
  patch.line = run;
  for (i = 0; i < d->kh; i++) {
    const int32_t v = y + i * d->dh;
    int32_t from = (v * d->w + q) * d->c + group * inputs;
    if (inside && together) {
      for (k = 0; k < run; k++) *copy++ = x[from + k];
      continue;
    }
    for (j = 0; j < d->kw; j++, from += d->dw * d->c) {
      const int32_t u = q + j * d->dw;
      if (QB_OUTSIDE && (v < 0 || v >= d->h || u < 0 || u >= d->w)) {
        for (k = 0; k < inputs; k++) *copy++ = (uint8_t)d->xz;
      } else {
        for (k = 0; k < inputs; k++) *copy++ = x[from + k];
      }
    }
  }
  return patch;
}

QB_FUNCTION uint32_t qb_total(const qb_conv *d, qb_patch p) {
  const int32_t run = d->kw * (d->c / qb_groups(d));
  uint32_t sum = 0;
  int32_t i, k;
  for (i = 0; i < d->kh; i++)
    for (k = 0; k < run; k++) sum += p.at[i * p.line + k];
  return sum;
}

#if defined(QB_WASM)
/* A patch of short runs as one run, so that products are taken eight at once. */
QB_INLINE qb_patch qb_gathered(qb_patch p, int32_t kh, int32_t run, uint8_t *copy) {
  int32_t i, k;
  for (i = 0; i < kh; i++)
    for (k = 0; k < run; k++) copy[i * run + k] = p.at[i * p.line + k];
  p.at = copy, p.line = run;
  return p;
}
#endif

/* Two positions, whose codes every filter needs. */
typedef struct {
#if defined(QB_SMLAD)
  const qb_words *wide;
#else
  qb_patch first, second;
#endif
  uint32_t totals[2];
} qb_pair;

/* Scratch `copy`: T words for two patches of T codes, rounded up to fours, and T bytes for one. */
QB_FUNCTION qb_pair qb_pair_at(const qb_conv *d, const uint8_t *x, int32_t a, int32_t b,
                               int32_t group, int32_t *copy) {
  const int32_t run = d->kw * (d->c / qb_groups(d)), taps = d->kh * run;
  qb_pair pair;
#if defined(QB_SMLAD)
  int32_t which, i;
  for (which = 0; which < 2; which++) {
    qb_words *to = (qb_words *)copy + 2 * which;
    const qb_patch patch =
        qb_patch_at(d, x, which == 0 ? a : b, group, (uint8_t *)(copy + ((taps + 3) & ~3)));
    if (patch.line == run) {
      qb_widen(patch.at, taps, to);
    } else {
      for (i = 0; i < d->kh; i++) to = qb_widen(patch.at + i * patch.line, run, to);
    }
    pair.totals[which] = qb_shifted(d) ? qb_total(d, patch) : 0;
  }
  pair.wide = (const qb_words *)copy;
#else
  pair.first = qb_patch_at(d, x, a, group, (uint8_t *)copy);
  pair.second = a == b ? pair.first : qb_patch_at(d, x, b, group, (uint8_t *)copy + taps);
#if defined(QB_WASM)
  if (run < 8 && pair.first.line != run)
    pair.first = qb_gathered(pair.first, d->kh, run, (uint8_t *)copy);
  if (run < 8 && pair.second.line != run)
    pair.second = qb_gathered(pair.second, d->kh, run, (uint8_t *)copy + taps);
#endif
  pair.totals[0] = pair.totals[1] = 0;
  if (qb_shifted(d))
    pair.totals[0] = qb_total(d, pair.first), pair.totals[1] = qb_total(d, pair.second);
#endif
  return pair;
}

/* sums[4] of two positions by filters n and n + 1; `two` is 0 at an odd last filter. */
QB_INLINE void qb_block(const qb_conv *d, const int32_t *offset, const qb_pair *pair, int32_t n,
                        int32_t two, int32_t *sums) {
  const int32_t run = d->kw * (d->c / qb_groups(d)), taps = d->kh * run;
  const int8_t *w = d->weight + (ptrdiff_t)n * taps, *v = two != 0 ? w + taps : w;
  sums[0] = sums[2] = offset[n];
  sums[1] = sums[3] = offset[n + two];
#if defined(QB_SMLAD)
  qb_dot_wide(pair->wide, w, v, taps, sums);
#else
  {
    const qb_patch p = pair->first, q = pair->second;
    const int32_t whole = p.line == run && q.line == run;
    int32_t i;
    if (whole) qb_dot_2x2(p.at, q.at, w, v, taps, sums);
    for (i = 0; !whole && i < d->kh; i++)
      qb_dot_2x2(p.at + i * p.line, q.at + i * q.line, w + i * run, v + i * run, run, sums);
  }
#endif
  if (qb_shifted(d)) {
    const uint32_t z = (uint32_t)d->wz[n], y = (uint32_t)d->wz[n + two];
    const uint32_t first = pair->totals[0], second = pair->totals[1];
    sums[0] = qb_signed((uint32_t)sums[0] - z * first);
    sums[1] = qb_signed((uint32_t)sums[1] - y * first);
    sums[2] = qb_signed((uint32_t)sums[2] - z * second);
    sums[3] = qb_signed((uint32_t)sums[3] - y * second);
  }
}

/* best [n] of two rows, and of what it was unless this is the `start` */
QB_FUNCTION void qb_best(const int32_t *first, const int32_t *second, int32_t n, int32_t start,
                         int32_t *best) {
  int32_t i;
  for (i = 0; i < n; i++) {
    const int32_t more = first[i] > second[i] ? first[i] : second[i];
    if (start || more > best[i]) best[i] = more;
  }
}

/* x codes [H, W, C] -> out [OH / ph, OW / pw, O]. offset [O]: the bias, and the constant terms of
 * equation (2). Scratch: `copy` of a pair, acc [3, O / groups]. */
QB_FUNCTION void qb_convolve(const qb_conv *d, const int32_t *offset, const qb_end *e,
                             const uint8_t *x, int32_t *copy, int32_t *acc, void *out) {
  const int32_t outputs = d->o / qb_groups(d), window = d->ph * d->pw, pooled = qb_pooled(d);
  const int32_t windows = (d->oh / d->ph) * (d->ow / d->pw);
  const int32_t turns = pooled ? windows : (windows + 1) / 2;
  int32_t *other_acc = acc + outputs, *best = other_acc + outputs;
  int32_t turn, group, i, n;
  for (turn = 0; turn < turns; turn++)
    for (group = 0; group < qb_groups(d); group++) {
      const int32_t first = group * outputs;
      const int32_t left = windows - 2 * turn, end = pooled ? window : left < 2 ? left : 2;
      for (i = 0; i < end; i += 2) {
        const int32_t a = qb_position(d, turn, i);
        const int32_t b = i + 1 < end ? qb_position(d, turn, i + 1) : a;
        const qb_pair pair = qb_pair_at(d, x, a, b, group, copy);
        for (n = 0; n < outputs; n += 2) {
          const int32_t two = n + 1 < outputs;
          int32_t sums[4];
          qb_block(d, offset, &pair, first + n, two, sums);
          acc[n] = sums[0], other_acc[n] = sums[2];
          if (two) acc[n + 1] = sums[1], other_acc[n + 1] = sums[3];
        }
        if (pooled) {
          qb_best(acc, other_acc, outputs, i == 0, best);
        } else {
          qb_finish(e, acc, outputs, a, first, out);
          if (b != a) qb_finish(e, other_acc, outputs, b, first, out);
        }
      }
      if (pooled) qb_finish(e, best, outputs, turn, first, out);
    }
}
