/* ---- linear layers by columns: weight [K, O]. An input of zero costs nothing ----------------- */

/* acc[n] += x0 w0[n] + x1 w1[n] + x2 w2[n] + x3 w3[n], mod 2^32 */
QB_FUNCTION void qb_add_columns(const int32_t *x, const int8_t *const *w, int32_t n, int32_t *acc) {
  const int32_t a = x[0], b = x[1], c = x[2], d = x[3];
  const int8_t *p = w[0], *q = w[1], *r = w[2], *s = w[3];
  int32_t i = 0;
#if defined(QB_MVE)
  for (; i < n; i += 4) {
    const mve_pred16_t some = vctp32q((uint32_t)(n - i));
    int32x4_t sum = vldrwq_z_s32(acc + i, some);
    sum = vmlaq_n_s32(sum, vldrbq_z_s32(p + i, some), a);
    sum = vmlaq_n_s32(sum, vldrbq_z_s32(q + i, some), b);
    sum = vmlaq_n_s32(sum, vldrbq_z_s32(r + i, some), c);
    vstrwq_p_s32(acc + i, vmlaq_n_s32(sum, vldrbq_z_s32(s + i, some), d), some);
  }
#elif defined(QB_SMLAD)
  const uint32_t ab = qb_lows((uint32_t)a, (uint32_t)b), cd = qb_lows((uint32_t)c, (uint32_t)d);
  for (; i + 4 <= n; i += 4) {
    const uint32_t t = qb_word(p + i), u = qb_word(q + i), v = qb_word(r + i), y = qb_word(s + i);
    const uint32_t first = qb_lows(t, u), second = qb_lows(v, y);
    const uint32_t third = qb_highs(t, u), fourth = qb_highs(v, y);
    acc[i] = QB_MAC(cd, QB_EVEN(second), QB_MAC(ab, QB_EVEN(first), acc[i]));
    acc[i + 1] = QB_MAC(cd, qb_odd(second), QB_MAC(ab, qb_odd(first), acc[i + 1]));
    acc[i + 2] = QB_MAC(cd, QB_EVEN(fourth), QB_MAC(ab, QB_EVEN(third), acc[i + 2]));
    acc[i + 3] = QB_MAC(cd, qb_odd(fourth), QB_MAC(ab, qb_odd(third), acc[i + 3]));
  }
#elif defined(QB_WASM)
  const v128_t ab = qb_lows(a, b), cd = qb_lows(c, d);
  for (; i + 8 <= n; i += 8) {
    const v128_t t = wasm_i16x8_load8x8(p + i), u = wasm_i16x8_load8x8(q + i);
    const v128_t v = wasm_i16x8_load8x8(r + i), y = wasm_i16x8_load8x8(s + i);
    v128_t low = wasm_v128_load(acc + i), high = wasm_v128_load(acc + i + 4);
    low = qb_mac(low, wasm_i16x8_shuffle(t, u, 0, 8, 1, 9, 2, 10, 3, 11), ab);
    low = qb_mac(low, wasm_i16x8_shuffle(v, y, 0, 8, 1, 9, 2, 10, 3, 11), cd);
    high = qb_mac(high, wasm_i16x8_shuffle(t, u, 4, 12, 5, 13, 6, 14, 7, 15), ab);
    high = qb_mac(high, wasm_i16x8_shuffle(v, y, 4, 12, 5, 13, 6, 14, 7, 15), cd);
    wasm_v128_store(acc + i, low);
    wasm_v128_store(acc + i + 4, high);
  }
#endif
  for (; i < n; i++)
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
  if (++c->held == 4) {
    qb_add_columns(c->x, c->w, n, acc);
    c->held = 0;
  }
}

/* acc [O] of all inputs */
QB_FUNCTION void qb_linear_sums(const qb_conv *d, const int32_t *offset, const uint8_t *x,
                                int32_t *acc) {
  const int8_t *w = d->weight;
  const int32_t outputs = d->o;
  qb_columns columns;
  int32_t k, n;
  columns.held = 0;
  for (n = 0; n < outputs; n++) acc[n] = offset[n];
  for (k = 0; k < d->c; k++, w += outputs) qb_column(&columns, x[k], w, outputs, acc);
  qb_flush(&columns, outputs, acc);
}

/* Behind dropout: the sums of all inputs, less those of what is dropped. */
QB_FUNCTION void qb_linear_masked(const qb_conv *d, const uint8_t *x, const uint8_t *keep,
                                  const int32_t *sums, int32_t *acc) {
  const int8_t *w = d->weight;
  const int32_t outputs = d->o;
  qb_columns columns;
  int32_t k, n;
  columns.held = 0;
  for (n = 0; n < outputs; n++) acc[n] = sums[n];
  for (k = 0; k < d->c; k++, w += outputs)
    if (keep[k] == 0) qb_column(&columns, d->xz - x[k], w, outputs, acc);
  qb_flush(&columns, outputs, acc);
}
