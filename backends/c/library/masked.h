/* ---- convolutions behind dropout of channels: the sums of all channels, less those dropped ------
 * Weight [C, O, taps]. Codes count from xz, so that places outside of the image add nothing. */

/* The codes of one channel under a position's taps, as numbers of 16 bits. */
#if defined(QB_SMLAD)
#define QB_GATHERED uint8_t
#else
#define QB_GATHERED int16_t
#endif
QB_FUNCTION void qb_channel_patch(const qb_conv *d, const uint8_t *x, int32_t position,
                                  int32_t channel, QB_GATHERED *to) {
  const int32_t step = d->dw * d->c, line = d->dh * d->w * d->c, taps = d->kw;
#if defined(QB_SMLAD)
  const int32_t none = d->xz, xz = 0;
#else
  const int32_t none = 0, xz = d->xz;
#endif
  int32_t y, q, i, j, inside, from;
  qb_corner(d, position, &y, &q);
  inside = qb_inside(d, y, q);
  from = (y * d->w + q) * d->c + channel;
  for (i = 0; i < d->kh; i++, y += d->dh, from += line, to += taps) {
    int32_t at = from, u = q;
    if (inside) {
      for (j = 0; j < taps; j++, at += step) to[j] = (QB_GATHERED)(x[at] - xz);
      continue;
    }
    for (j = 0; j < taps; j++, at += step, u += d->dw) {
      const int32_t there = y >= 0 && y < d->h && u >= 0 && u < d->w;
      to[j] = (QB_GATHERED)(there ? x[at] - xz : none);
    }
  }
}

#if !defined(QB_SMLAD)
/* As qb_dot_2x2, with codes that may be negative. */
QB_INLINE void qb_dot_signed(const int16_t *x0, const int16_t *x1, const int8_t *w0,
                             const int8_t *w1, int32_t n, int32_t *sums) {
  int32_t a = 0, b = 0, c = 0, d = 0, k = 0;
#if defined(QB_MVE)
  for (; k < n; k += 8) {
    const mve_pred16_t p = vctp16q((uint32_t)(n - k));
    const int16x8_t y = vldrhq_z_s16(x0 + k, p), z = vldrhq_z_s16(x1 + k, p);
    const int16x8_t u = vldrbq_z_s16(w0 + k, p), v = vldrbq_z_s16(w1 + k, p);
    a = vmladavaq_s16(a, y, u), b = vmladavaq_s16(b, y, v);
    c = vmladavaq_s16(c, z, u), d = vmladavaq_s16(d, z, v);
  }
#elif defined(QB_WASM)
  v128_t e = wasm_i32x4_splat(0), f = e, g = e, h = e;
  for (; k + 8 <= n; k += 8) {
    const v128_t y = wasm_v128_load(x0 + k), z = wasm_v128_load(x1 + k);
    const v128_t u = wasm_i16x8_load8x8(w0 + k), v = wasm_i16x8_load8x8(w1 + k);
    e = qb_mac(e, y, u), f = qb_mac(f, y, v), g = qb_mac(g, z, u), h = qb_mac(h, z, v);
  }
  a = qb_lanes(e), b = qb_lanes(f), c = qb_lanes(g), d = qb_lanes(h);
#endif
  for (; k < n; k++) {
    const int32_t p = x0[k], q = x1[k], u = w0[k], v = w1[k];
    a += p * u, b += p * v, c += q * u, d += q * v; /* of one channel: far below 2^31 */
  }
  sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
}
#endif

/* first [O] += sign * the part of a channel at position a, second at position b; they are the same
 * row if the positions are. Scratch: two patches. */
QB_FUNCTION void qb_channel_part(const qb_conv *d, const uint8_t *x, int32_t channel, int32_t a,
                                 int32_t b, int32_t sign, int16_t *patches, int32_t *first,
                                 int32_t *second) {
  const int32_t taps = d->kh * d->kw, outputs = d->o;
  const int8_t *w = d->weight + (ptrdiff_t)channel * outputs * taps;
  int32_t n;
#if defined(QB_SMLAD)
  const int32_t words = (taps + 3) & ~3;
  qb_words *wide = (qb_words *)(void *)patches;
  uint8_t *bytes = (uint8_t *)(wide + words);
  for (n = taps; n < words; n++) bytes[n] = (uint8_t)d->xz; /* the weights there are of others */
  qb_channel_patch(d, x, a, channel, bytes);
  qb_widen(bytes, words, wide);
  qb_channel_patch(d, x, b, channel, bytes);
  qb_widen(bytes, words, wide + 2);
  if (d->xz != 0)
    for (n = 0; n < words; n++) wide[n] = qb_minus(wide[n], (uint32_t)d->xz * 0x10001u);
#else
  int16_t *other = patches + taps;
  qb_channel_patch(d, x, a, channel, patches);
  qb_channel_patch(d, x, b, channel, other);
#endif
  for (n = 0; n < outputs; n += 2, w += 2 * taps) {
    const int32_t two = n + 1 < outputs;
    const int8_t *v = two ? w + taps : w;
    int32_t s[4] = {0, 0, 0, 0}, sums[4];
#if defined(QB_SMLAD)
    qb_dot_wide(wide, w, v, taps, s);
#else
    qb_dot_signed(patches, other, w, v, taps, s);
#endif
    sums[0] = first[n], sums[1] = first[n + two], sums[2] = second[n], sums[3] = second[n + two];
    first[n] = qb_signed((uint32_t)sums[0] + (uint32_t)(sign * s[0]));
    second[n] = qb_signed((uint32_t)sums[2] + (uint32_t)(sign * s[2]));
    if (!two) continue;
    first[n + 1] = qb_signed((uint32_t)sums[1] + (uint32_t)(sign * s[1]));
    second[n + 1] = qb_signed((uint32_t)sums[3] + (uint32_t)(sign * s[3]));
  }
}

/* sums [positions, O] of all channels; parts [C, positions, O] of each, or NULL. The offsets hold
 * what the codes xz give. */
QB_FUNCTION void qb_conv_sums(const qb_conv *d, const int32_t *offset, const uint8_t *x,
                              int16_t *patches, int32_t *sums, int32_t *parts) {
  const int32_t positions = d->oh * d->ow, outputs = d->o;
  int32_t p, c, n;
  for (p = 0; p < positions; p += 2) {
    const int32_t rows = p + 1 < positions ? 2 : 1, all = rows * outputs;
    int32_t *sum = sums + (ptrdiff_t)p * outputs;
    for (n = 0; n < all; n++) sum[n] = offset[n < outputs ? n : n - outputs];
    for (c = 0; c < d->c; c++) {
      int32_t *to = sum;
      if (QB_TABLES && parts != NULL) {
        to = parts + ((ptrdiff_t)c * positions + p) * outputs;
        for (n = 0; n < all; n++) to[n] = 0;
      }
      qb_channel_part(d, x, c, p, p + rows - 1, 1, patches, to, to + (rows - 1) * outputs);
      if (QB_TABLES && parts != NULL)
        for (n = 0; n < all; n++) sum[n] = qb_signed((uint32_t)sum[n] + (uint32_t)to[n]);
    }
  }
}

/* acc [n] = sum - the parts of `count` channels, which lie `step` apart */
QB_FUNCTION void qb_subtract(const int32_t *sum, const int32_t *parts, ptrdiff_t step,
                             const int32_t *dropped, int32_t count, int32_t n, int32_t *acc) {
  const int32_t *from = sum;
  int32_t i = 0, k;
  if (count == 0)
    for (k = 0; k < n; k++) acc[k] = sum[k];
  if ((count & 1) != 0) {
    const int32_t *part = parts + dropped[i++] * step;
    for (k = 0; k < n; k++) acc[k] = qb_signed((uint32_t)from[k] - (uint32_t)part[k]);
    from = acc;
  }
  for (; i < count; i += 2, from = acc) {
    const int32_t *p = parts + dropped[i] * step, *q = parts + dropped[i + 1] * step;
    for (k = 0; k < n; k++)
      acc[k] = qb_signed((uint32_t)from[k] - (uint32_t)p[k] - (uint32_t)q[k]);
  }
}

/* Either `parts`, or the codes x and scratch for two patches; the others are NULL. Scratch: dropped
 * [C], acc [3, O]. */
QB_FUNCTION void qb_conv_masked(const qb_conv *d, const qb_end *e, const uint8_t *keep,
                                int32_t *dropped, const int32_t *sums, const uint8_t *x,
                                const int32_t *parts, int16_t *patches, int32_t *acc, void *out) {
  const int32_t outputs = d->o, window = d->ph * d->pw, pooled = qb_pooled(d);
  const int32_t windows = (d->oh / d->ph) * (d->ow / d->pw);
  const int32_t turns = pooled ? windows : (windows + 1) / 2;
  const ptrdiff_t step = (ptrdiff_t)d->oh * d->ow * outputs;
  int32_t *other_acc = acc + outputs, *best = other_acc + outputs;
  int32_t turn, i, c, count = 0;
  for (c = 0; c < d->c; c++)
    if (keep[c] == 0) dropped[count++] = c;
  for (turn = 0; turn < turns; turn++) {
    const int32_t left = windows - 2 * turn, end = pooled ? window : left < 2 ? left : 2;
    for (i = 0; i < end; i += 2) {
      const int32_t a = qb_position(d, turn, i);
      const int32_t b = i + 1 < end ? qb_position(d, turn, i + 1) : a;
      const ptrdiff_t p = (ptrdiff_t)a * outputs, q = (ptrdiff_t)b * outputs;
      const int32_t tables = QB_TABLES && (!QB_RECOMPUTED || parts != NULL);
      const int32_t taken = tables ? count : 0;
      const int32_t *part = tables ? parts : sums;
      qb_subtract(sums + p, part + p, step, dropped, taken, outputs, acc);
      qb_subtract(sums + q, part + q, step, dropped, taken, outputs, other_acc);
      if (!tables)
        for (c = 0; c < count; c++)
          qb_channel_part(d, x, dropped[c], a, b, -1, patches, acc, other_acc);
      if (pooled) {
        qb_best(acc, other_acc, outputs, i == 0, best);
      } else {
        qb_finish(e, acc, outputs, a, 0, out);
        if (b != a) qb_finish(e, other_acc, outputs, b, 0, out);
      }
    }
    if (pooled) qb_finish(e, best, outputs, turn, 0, out);
  }
}
