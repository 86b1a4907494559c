/* ---- sums of products; images are [H, W, C] -------------------------------------------------- */

#if defined(QB_SMLAD)
typedef uint32_t __attribute__((may_alias)) qb_words; /* two numbers of 16 bits each */
QB_INLINE uint32_t qb_word(const void *p) {
  uint32_t word;
  __builtin_memcpy(&word, p, 4);
  return word;
}
/* Bytes 0 and 2 of a word as numbers of 16 bits, and bytes 1 and 3: of weights, and of codes. */
#define QB_EVEN(word) ((uint32_t)__sxtb16((int8x4_t)(word)))
#define QB_CODES_EVEN(word) ((uint32_t)__uxtb16((uint8x4_t)(word)))
#define QB_CODES_ODD(word) ((uint32_t)__uxtb16((uint8x4_t)((word) >> 8)))
QB_INLINE uint32_t qb_odd(uint32_t word) {
  uint32_t odd;
  __asm__("sxtb16 %0, %1, ror #8" : "=r"(odd) : "r"(word));
  return odd;
}
#define QB_MAC(x, w, sum) __smlad((int16x2_t)(x), (int16x2_t)(w), sum)
/* a - b, of both numbers of 16 bits */
QB_INLINE uint32_t qb_minus(uint32_t a, uint32_t b) {
  return (uint32_t)__ssub16((int16x2_t)a, (int16x2_t)b);
}
/* The low halves of two words, or the high ones: the first word's below. */
QB_INLINE uint32_t qb_lows(uint32_t a, uint32_t b) {
  uint32_t both;
  __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(both) : "r"(a), "r"(b));
  return both;
}
QB_INLINE uint32_t qb_highs(uint32_t a, uint32_t b) {
  uint32_t both;
  __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(both) : "r"(b), "r"(a));
  return both;
}
#endif

#if defined(QB_WASM)
/* sum[i] + x[2i] w[2i] + x[2i + 1] w[2i + 1] */
QB_INLINE v128_t qb_mac(v128_t sum, v128_t x, v128_t w) {
  return wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(x, w));
}
QB_INLINE int32_t qb_lanes(v128_t v) {
  v = wasm_i32x4_add(v, wasm_i32x4_shuffle(v, v, 2, 3, 0, 1));
  v = wasm_i32x4_add(v, wasm_i32x4_shuffle(v, v, 1, 0, 3, 2));
  return wasm_i32x4_extract_lane(v, 0);
}
/* The low halves of two numbers, in each lane. */
QB_INLINE v128_t qb_lows(int32_t a, int32_t b) {
  return wasm_i32x4_splat(qb_signed(((uint32_t)a & 0xFFFFu) | ((uint32_t)b << 16)));
}
#endif

QB_INLINE uint32_t qb_dot(const uint8_t *x, const int8_t *w, int32_t n, uint32_t sum) {
  int32_t k = 0;
#if defined(QB_SMLAD)
  int32_t fast = qb_signed(sum);
  for (; k + 4 <= n; k += 4) {
    const uint32_t p = qb_word(x + k), u = qb_word(w + k);
    fast = QB_MAC(QB_CODES_EVEN(p), QB_EVEN(u), fast);
    fast = QB_MAC(QB_CODES_ODD(p), qb_odd(u), fast);
  }
  sum = (uint32_t)fast;
#endif
  for (; k < n; k++) sum += (uint32_t)((int32_t)x[k] * (int32_t)w[k]);
  return sum;
}

/* One input by four filters, which begin `n` apart: each code that is loaded serves all four. */
QB_INLINE void qb_dot_1x4(const uint8_t *x, const int8_t *w, int32_t n, int32_t *sums) {
  const int8_t *w1 = w + n, *w2 = w1 + n, *w3 = w2 + n;
  int32_t k = 0;
#if defined(QB_MVE)
  for (; k < n; k += 8) {
    const mve_pred16_t p = vctp16q((uint32_t)(n - k));
    const int16x8_t v = vreinterpretq_s16_u16(vldrbq_z_u16(x + k, p));
    sums[0] = vmladavaq_s16(sums[0], v, vldrbq_z_s16(w + k, p));
    sums[1] = vmladavaq_s16(sums[1], v, vldrbq_z_s16(w1 + k, p));
    sums[2] = vmladavaq_s16(sums[2], v, vldrbq_z_s16(w2 + k, p));
    sums[3] = vmladavaq_s16(sums[3], v, vldrbq_z_s16(w3 + k, p));
  }
#else
  uint32_t a = (uint32_t)sums[0], b = (uint32_t)sums[1];
  uint32_t c = (uint32_t)sums[2], d = (uint32_t)sums[3];
#if defined(QB_SMLAD)
  int32_t e = sums[0], f = sums[1], g = sums[2], h = sums[3];
  for (; k + 4 <= n; k += 4) {
    const uint32_t word = qb_word(x + k);
    const uint32_t p = QB_CODES_EVEN(word), q = QB_CODES_ODD(word);
    const uint32_t s = qb_word(w + k), t = qb_word(w1 + k);
    const uint32_t u = qb_word(w2 + k), v = qb_word(w3 + k);
    e = QB_MAC(q, qb_odd(s), QB_MAC(p, QB_EVEN(s), e));
    f = QB_MAC(q, qb_odd(t), QB_MAC(p, QB_EVEN(t), f));
    g = QB_MAC(q, qb_odd(u), QB_MAC(p, QB_EVEN(u), g));
    h = QB_MAC(q, qb_odd(v), QB_MAC(p, QB_EVEN(v), h));
  }
  a = (uint32_t)e, b = (uint32_t)f, c = (uint32_t)g, d = (uint32_t)h;
#elif defined(QB_WASM)
  v128_t e = wasm_i32x4_splat(0), f = e, g = e, h = e;
  for (; k + 8 <= n; k += 8) {
    const v128_t v = wasm_u16x8_load8x8(x + k);
    e = qb_mac(e, v, wasm_i16x8_load8x8(w + k)), f = qb_mac(f, v, wasm_i16x8_load8x8(w1 + k));
    g = qb_mac(g, v, wasm_i16x8_load8x8(w2 + k)), h = qb_mac(h, v, wasm_i16x8_load8x8(w3 + k));
  }
  a += (uint32_t)qb_lanes(e), b += (uint32_t)qb_lanes(f);
  c += (uint32_t)qb_lanes(g), d += (uint32_t)qb_lanes(h);
#endif
  for (; k < n; k++) {
    const int32_t v = x[k];
    a += (uint32_t)(v * w[k]), b += (uint32_t)(v * w1[k]);
    c += (uint32_t)(v * w2[k]), d += (uint32_t)(v * w3[k]);
  }
  sums[0] = qb_signed(a), sums[1] = qb_signed(b), sums[2] = qb_signed(c), sums[3] = qb_signed(d);
#endif
}

#if defined(QB_SMLAD)
/* Codes as numbers of 16 bits, two words for four codes, in the order of QB_EVEN and QB_ODD. Two
 * words are left free for those of another patch. The last four are filled up with zeros. */
QB_INLINE qb_words *qb_widen(const uint8_t *from, int32_t n, qb_words *to) {
  for (; n >= 4; n -= 4, from += 4, to += 4) {
    const uint32_t word = qb_word(from);
    to[0] = QB_CODES_EVEN(word), to[1] = QB_CODES_ODD(word);
  }
  if (n > 0) {
    to[0] = from[0] | (n > 2 ? (uint32_t)from[2] << 16 : 0u);
    to[1] = n > 1 ? from[1] : 0u;
    to += 4;
  }
  return to;
}

/* Two such patches by two filters. The last step reads up to 3 weights beyond a filter. */
QB_INLINE void qb_dot_wide(const qb_words *x, const int8_t *w, const int8_t *v, int32_t n,
                           int32_t *sums) {
  int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
  for (; n > 0; n -= 4, x += 4, w += 4, v += 4) {
    const uint32_t s = qb_word(w), t = qb_word(v);
    const uint32_t p = x[0], q = x[1], y = x[2], z = x[3];
    const uint32_t s0 = QB_EVEN(s), s1 = qb_odd(s), t0 = QB_EVEN(t), t1 = qb_odd(t);
    a = QB_MAC(q, s1, QB_MAC(p, s0, a));
    c = QB_MAC(z, s1, QB_MAC(y, s0, c));
    b = QB_MAC(q, t1, QB_MAC(p, t0, b));
    d = QB_MAC(z, t1, QB_MAC(y, t0, d));
  }
  sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
}
#else
/* Two inputs by two filters: each byte that is loaded serves two products. */
QB_INLINE void qb_dot_2x2(const uint8_t *x0, const uint8_t *x1, const int8_t *w0, const int8_t *w1,
                          int32_t n, int32_t *sums) {
  int32_t k = 0;
#if defined(QB_MVE)
  for (; k < n; k += 8) {
    const mve_pred16_t p = vctp16q((uint32_t)(n - k));
    const int16x8_t y = vreinterpretq_s16_u16(vldrbq_z_u16(x0 + k, p));
    const int16x8_t z = vreinterpretq_s16_u16(vldrbq_z_u16(x1 + k, p));
    const int16x8_t u = vldrbq_z_s16(w0 + k, p), v = vldrbq_z_s16(w1 + k, p);
    sums[0] = vmladavaq_s16(sums[0], y, u), sums[1] = vmladavaq_s16(sums[1], y, v);
    sums[2] = vmladavaq_s16(sums[2], z, u), sums[3] = vmladavaq_s16(sums[3], z, v);
  }
#else
  uint32_t a = (uint32_t)sums[0], b = (uint32_t)sums[1];
  uint32_t c = (uint32_t)sums[2], d = (uint32_t)sums[3];
#if defined(QB_WASM)
  v128_t e = wasm_i32x4_splat(0), f = e, g = e, h = e;
  for (; k + 8 <= n; k += 8) {
    const v128_t y = wasm_u16x8_load8x8(x0 + k), z = wasm_u16x8_load8x8(x1 + k);
    const v128_t t = wasm_i16x8_load8x8(w0 + k), u = wasm_i16x8_load8x8(w1 + k);
    e = qb_mac(e, y, t), f = qb_mac(f, y, u), g = qb_mac(g, z, t), h = qb_mac(h, z, u);
  }
  a += (uint32_t)qb_lanes(e), b += (uint32_t)qb_lanes(f);
  c += (uint32_t)qb_lanes(g), d += (uint32_t)qb_lanes(h);
#endif
  for (; k < n; k++) {
    const int32_t p = x0[k], q = x1[k], u = w0[k], v = w1[k];
    a += (uint32_t)(p * u), b += (uint32_t)(p * v);
    c += (uint32_t)(q * u), d += (uint32_t)(q * v);
  }
  sums[0] = qb_signed(a), sums[1] = qb_signed(b), sums[2] = qb_signed(c), sums[3] = qb_signed(d);
#endif
}
#endif

/* A convolution, or a linear layer: a convolution of one position with one tap. */
typedef struct {
  const int8_t *weight;  /* [O, taps, C / groups] */
  const int32_t *wz;     /* zero points of the weights [O]; NULL if all are 0 */
  int32_t xz, h, w, c, o, groups, kh, kw, sh, sw, dh, dw, top, left, oh, ow;
  int32_t ph, pw; /* of the maxima that are taken of each window; 1, 1 if none are */
} qb_conv;

/* What the macros tell of a layer is known to the compiler, which then leaves out the rest. */
QB_INLINE int32_t qb_shifted(const qb_conv *d) { return QB_WEIGHT_ZEROS && d->wz != NULL; }
QB_INLINE int32_t qb_groups(const qb_conv *d) { return QB_GROUPS ? d->groups : 1; }
QB_INLINE int32_t qb_pooled(const qb_conv *d) { return !QB_UNPOOLED || d->ph * d->pw > 1; }

/* One vector by a weight [O, K] */
QB_FUNCTION void qb_linear(const qb_conv *d, const int32_t *offset, const qb_end *e,
                           const uint8_t *x, void *out) {
  uint32_t total = 0;
  int32_t n, k;
  if (qb_shifted(d))
    for (k = 0; k < d->c; k++) total += x[k];
  for (n = 0; n < d->o; n += 4) {
    const int8_t *w = d->weight + (ptrdiff_t)n * d->c;
    const int32_t count = d->o - n < 4 ? d->o - n : 4;
    int32_t sums[4];
    for (k = 0; k < count; k++) sums[k] = offset[n + k];
    if (count == 4) {
      qb_dot_1x4(x, w, d->c, sums);
    } else {
      for (k = 0; k < count; k++, w += d->c)
        sums[k] = qb_signed(qb_dot(x, w, d->c, (uint32_t)sums[k]));
    }
    if (qb_shifted(d))
      for (k = 0; k < count; k++)
        sums[k] = qb_signed((uint32_t)sums[k] - (uint32_t)d->wz[n + k] * total);
    qb_finish(e, sums, count, 0, n, out);
  }
}
