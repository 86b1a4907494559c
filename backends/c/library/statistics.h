/* ---- statistics in float64, sample by sample, so that memory does not grow with their number ---
 * They agree with other backends to 1e-6, variances to 1e-5 relative (docs/semantics.md, 4). */

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
QB_FUNCTION float qb_narrow(double v) { return v > 3.4028234663852886e38 ? INFINITY : (float)v; }

/* e^x to 1e-8; microcontrollers compute float64 in software, so that terms count. */
QB_FUNCTION double qb_exp(double x) {
  static const double coefficients[] = {1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24,
                                        1.0 / 6,     0.5,        1.0,       1.0};
  union {
    double real;
    uint64_t bits;
  } power;
  double r, p = 0.0;
  int32_t n, i;
  if (!(x > -708.0)) return 0.0;
  if (x > 709.0) x = 709.0;
  n = (int32_t)(x * 1.4426950408889634 + (x < 0.0 ? -0.5 : 0.5));
  r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
  for (i = 0; i < 9; i++) p = p * r + coefficients[i];
  power.bits = (uint64_t)(n + 1023) << 52;
  return p * power.real;
}

/* of a positive, normal number, to 1e-12 */
QB_FUNCTION double qb_log(double x) {
  static const double coefficients[] = {2.0 / 15, 2.0 / 13, 2.0 / 11, 2.0 / 9, 2.0 / 7,
                                        2.0 / 5,  2.0 / 3,  2.0};
  union {
    double real;
    uint64_t bits;
  } v;
  double s, squared, p = 0.0;
  int32_t e, i;
  v.real = x;
  e = (int32_t)(v.bits >> 52) - 1023;
  v.bits = (v.bits & UINT64_C(0xFFFFFFFFFFFFF)) | UINT64_C(0x3FF0000000000000);
  if (v.real > 1.4142135623730951) {
    v.real *= 0.5;
    e++;
  }
  s = (v.real - 1.0) / (v.real + 1.0);
  squared = s * s;
  for (i = 0; i < 8; i++) p = p * squared + coefficients[i];
  return e * 0.6931471805599453 + s * p;
}

/* Adds softmax(logits) to p, and returns its entropy in nats. Logits are `step` apart; each [n]. */
QB_FUNCTION double qb_softmax_add(const float *logits, int32_t n, int32_t step, double *p,
                                  double *each) {
  double top = (double)logits[0], total = 0.0, mean = 0.0, share;
  int32_t i;
  for (i = 1; i < n; i++)
    if ((double)logits[i * step] > top) top = (double)logits[i * step];
  for (i = 0; i < n; i++) {
    const double below = (double)logits[i * step] - top;
    each[i] = qb_exp(below);
    total += each[i];
    mean += each[i] * below;
  }
  share = 1.0 / total;
  for (i = 0; i < n; i++) p[i * step] += each[i] * share;
  return qb_log(total) - mean * share;
}

/* One logit z: softmax of (0, z); p has two classes, `step` apart. */
QB_FUNCTION double qb_sigmoid_add(float logit, int32_t step, double *p) {
  const double z = (double)logit, small = qb_exp(z > 0.0 ? -z : z), total = 1.0 + small;
  const double of_top = 1.0 / total, other = small / total;
  p[0] += z > 0.0 ? other : of_top;
  p[step] += z > 0.0 ? of_top : other;
  return qb_log(total) + other * (z > 0.0 ? z : -z);
}
