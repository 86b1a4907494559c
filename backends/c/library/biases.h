/* ---- biases that vary with the sample -------------------------------------------------------- */

/* keep ? q : z; the mask walks beside the bias */
QB_FUNCTION void qb_select_sums(const qb_walk *d, const uint8_t *keep, const int32_t *x, int32_t z,
                                int32_t *out) {
  QB_WALK(d, out[to] = keep[from] != 0 ? x[to] : z);
}

/* A bias [n], and the constant terms of equation (2), mod 2^32 */
QB_FUNCTION void qb_add_terms(const int32_t *bias, const int32_t *terms, int32_t n, int32_t *out) {
  int32_t i;
  for (i = 0; i < n; i++) out[i] = qb_signed((uint32_t)bias[i] + (uint32_t)terms[i]);
}
