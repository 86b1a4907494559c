/* ---- normalisation by groups: docs/semantics.md, section 4 ----------------------------------- */
#if !defined(DBL_MANT_DIG) || DBL_MANT_DIG != 53
#error "normalisation needs IEEE float64 for double, as -mdouble=64 gives on AVR"
#endif

typedef struct {
  double eps, outer_eps, floor;
  const float *weight, *bias; /* element e of a group takes number e / run */
  int32_t outer, inner, count, outer_step, inner_step, step;
  int32_t parameter_outer, parameter_inner, run, centred, x_zero, z, lo, hi;
} qb_norm;

/* The IEEE root of 0 or a normal number, bit by bit: no target needs a library for it. */
QB_FUNCTION double qb_root(double v) {
  union {
    double real;
    uint64_t bits;
  } u;
  uint64_t rest, root = 0, bit;
  int32_t exponent;
  if (!(v > 0.0)) return 0.0;
  u.real = v;
  exponent = (int32_t)(u.bits >> 52) - 1023;
  rest = (u.bits & 0xFFFFFFFFFFFFFu) | 0x10000000000000u; /* v = rest * 2^(exponent - 52) */
  if ((exponent & 1) != 0) {
    rest <<= 1;
    exponent--;
  }
  /* 54 bits of the root: the last one rounds, and no root lies half between two numbers. */
  for (bit = (uint64_t)1 << 53; bit != 0; bit >>= 1) {
    rest <<= 1;
    if (rest >= 2 * root + bit) {
      rest -= 2 * root + bit;
      root += bit;
    }
  }
  root = (root + 1) >> 1;
  u.bits = ((uint64_t)(exponent / 2 + 1022) << 52) + root;
  return u.real;
}

QB_FUNCTION void qb_normalize_group(const qb_norm *d, const uint8_t *x, const float *weight,
                                    const float *bias, uint8_t *out) {
  const float lo = (float)(d->lo - d->z), hi = (float)(d->hi - d->z);
  int64_t squares = 0, spread;
  int32_t total = 0, e, left = d->run;
  double divisor;
  float inverse;
  for (e = 0; e < d->count; e++) {
    const int32_t k = x[e * d->step] - d->x_zero;
    total += k;
    squares += k * k;
  }
  if (d->centred == 0) total = 0;
  spread = d->count * squares - (int64_t)total * total;
  divisor = qb_root((double)spread + d->eps) + d->outer_eps;
  inverse = (float)(1.0 / (divisor > d->floor ? divisor : d->floor));
  for (e = 0; e < d->count; e++) {
    const int32_t moved = d->count * (x[e * d->step] - d->x_zero) - total;
    /* volatile: the product must not be fused with the sum */
    const volatile float weighted = (float)moved * inverse * *weight;
    out[e * d->step] = (uint8_t)(d->z + qb_round(weighted + *bias, lo, hi));
    if (--left == 0) {
      left = d->run;
      weight++;
      bias++;
    }
  }
}

QB_FUNCTION void qb_normalize(const qb_norm *d, const uint8_t *x, uint8_t *out) {
  int32_t i, j;
  for (i = 0; i < d->outer; i++)
    for (j = 0; j < d->inner; j++) {
      const int32_t at = i * d->outer_step + j * d->inner_step;
      const int32_t own = i * d->parameter_outer + j * d->parameter_inner;
      qb_normalize_group(d, x + at, d->weight + own, d->bias + own, out + at);
    }
}
