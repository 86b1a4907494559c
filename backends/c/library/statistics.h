/* ---- statistics, sample by sample, so that memory does not grow with their number ---------------
 * Moments are float64. Probabilities are integers, of which a microcontroller adds many in the time
 * of one float64. They agree with other backends to 1e-6, variances to 1e-5 relative
 * (docs/semantics.md, 4). */

typedef struct {
  double origin, sum, squares; /* shifted by the first sample: exact enough far below a mean */
} qb_moments;

QB_FUNCTION void qb_moments_add(qb_moments *m, float value, uint32_t sample) {
  double d;
  if (sample == 0) {
    m->origin = (double)value;
    m->sum = m->squares = 0.0;
    return;
  }
  d = (double)value - m->origin;
  m->sum += d;
  m->squares += d * d;
}
QB_FUNCTION double qb_mean(const qb_moments *m, uint32_t n) { return m->origin + m->sum / n; }
QB_FUNCTION double qb_variance(const qb_moments *m, uint32_t n) {
  const double v = (m->squares - m->sum * m->sum / n) / n;
  return v > 0.0 ? v : 0.0;
}
QB_FUNCTION float qb_narrow(double v) {
  union {
    uint32_t bits;
    float real;
  } infinite;
  infinite.bits = UINT32_C(0x7F800000);
  return v > 3.4028234663852886e38 ? infinite.real : (float)v;
}

/* 2^f * 2^30 of a fraction f = fraction / 2^32, to 1e-8: a polynomial fitted on 0..1 */
QB_FUNCTION uint32_t qb_power(uint32_t fraction) {
  static const uint32_t coefficients[] = {232901u, 1336066u, 10392181u, 59574981u, 257944779u,
                                          744260910u, 1073741826u};
  uint32_t p = coefficients[0];
  int32_t i;
  for (i = 1; i < 7; i++) p = coefficients[i] + (uint32_t)((uint64_t)p * fraction >> 32);
  return p;
}

/* e^x to 1e-8, where float32 has it */
QB_FUNCTION double qb_exp(double x) {
  union {
    double real;
    uint64_t bits;
  } power;
  uint64_t size, exponent;
  if (!(x > -600.0)) return 0.0;
  if (x > 709.0) x = 709.0;
  size = (uint64_t)((x < 0.0 ? -x : x) * 4294967296.0);
  /* times log2(e), and 1100 more, that it is positive */
  size = (size >> 32) * UINT64_C(6196328019) + ((size & UINT32_MAX) * UINT64_C(3098164009) >> 31);
  exponent = (UINT64_C(1100) << 32) + (x < 0.0 ? UINT64_C(0) - size : size);
  power.bits = ((exponent >> 32) - 1100u - 30u + 1023u) << 52;
  return qb_power((uint32_t)exponent) * power.real;
}

/* log2 of size / 2^31 * 2^32, for 2^31 <= size: bit by bit, to 2^-26 */
QB_FUNCTION uint32_t qb_fraction(uint32_t size) {
  uint32_t bit, fraction = 0;
  for (bit = UINT32_C(1) << 31; bit >= UINT32_C(1) << 5; bit >>= 1) {
    const uint64_t square = (uint64_t)size * size; /* 2^62 is 1 */
    if (square >> 63 != 0u) {
      fraction |= bit;
      size = (uint32_t)(square >> 32);
    } else {
      size = (uint32_t)(square >> 31);
    }
  }
  return fraction;
}

/* log(number) * 2^32, for 1 <= number < 2^63 */
QB_FUNCTION uint64_t qb_log(uint64_t number) {
  uint32_t whole = 31;
  while (number >= UINT64_C(1) << 32) number >>= 1, whole++;
  while (number < UINT64_C(1) << 31) number <<= 1, whole--;
  return whole * UINT64_C(2977044472) +
         ((uint64_t)qb_fraction((uint32_t)number) * UINT64_C(2977044472) >> 32);
}

/* Adds softmax(logits) * 2^31 to p, and returns its entropy in nats * 2^32. Logits are `step`
 * apart; each [n] is scratch. */
QB_FUNCTION uint64_t qb_softmax_add(const float *logits, int32_t n, int32_t step, uint64_t *p,
                                    uint32_t *each) {
  uint64_t total = 0, mean = 0, share;
  float top = logits[0];
  int32_t i;
  for (i = 1; i < n; i++)
    if (logits[i * step] > top) top = logits[i * step];
  for (i = 0; i < n; i++) {
    const float below = top - logits[i * step];
    uint32_t size = 0, fixed, exponent;
    if (below < 21.0f) { /* e^-21 is 8e-10 */
      fixed = (uint32_t)(below * 134217728.0f);                              /* 2^27 is 1 */
      exponent = 0u - (uint32_t)((uint64_t)fixed * UINT64_C(3098164009) >> 31); /* base 2, mod 32 */
      size = UINT32_C(1) << 30;
      if (exponent != 0u) size = qb_power(exponent << 5) >> (32u - (exponent >> 27));
      mean += (uint64_t)size * fixed >> 20;
    }
    each[i] = size;
    total += size;
  }
  if (total == 0u) total = UINT64_C(1) << 30; /* a logit is infinite */
  share = (UINT64_C(1) << 61) / total;
  for (i = 0; i < n; i++) p[i * step] += each[i] * share >> 30;
  return qb_log(total) - UINT64_C(30) * UINT64_C(2977044472) + ((mean >> 8) * share >> 28);
}

/* One logit z: softmax of (0, z); p has two classes, `step` apart. */
QB_FUNCTION uint64_t qb_sigmoid_add(float logit, int32_t step, uint64_t *p) {
  const float logits[2] = {0.0f, logit};
  uint64_t two[2] = {0, 0}, entropy;
  uint32_t each[2];
  entropy = qb_softmax_add(logits, 2, 1, two, each);
  p[0] += two[0];
  p[step] += two[1];
  return entropy;
}

/* -p log(p) * 2^32 of p / 2^31 */
QB_FUNCTION uint64_t qb_surprise(uint64_t p) {
  if (p == 0u) return 0;
  return p * ((UINT64_C(31) * UINT64_C(2977044472) - qb_log(p)) >> 5) >> 26;
}
