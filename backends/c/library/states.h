/* ---- states that a recurrence carries: sums of products; docs/semantics.md, section 4 --------- */

typedef struct {
  float factor;
  int32_t n, a_zero, b_zero, more; /* more: the product is added to what the state holds */
} qb_product;

QB_INLINE int32_t qb_state(const qb_product *d, int32_t product, int32_t before) {
  int32_t sum = qb_round((float)product * d->factor, -32767.0f, 32767.0f);
  if (d->more) sum += before;
  sum = sum < 32767 ? sum : 32767;
  return sum > -32767 ? sum : -32767;
}

QB_FUNCTION void qb_add_products(const qb_product *d, const uint8_t *a, const uint8_t *b,
                                 int32_t *state) {
  int32_t i;
  for (i = 0; i < d->n; i++)
    state[i] = qb_state(d, (a[i] - d->a_zero) * (b[i] - d->b_zero), state[i]);
}

QB_FUNCTION void qb_add_state_products(const qb_product *d, const uint8_t *a, const int32_t *b,
                                       int32_t *state) {
  int32_t i;
  for (i = 0; i < d->n; i++)
    state[i] = qb_state(d, (a[i] - d->a_zero) * b[i], state[i]);
}
