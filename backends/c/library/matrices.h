/* ---- products of two computed matrices ------------------------------------------------------- */

/* `count` pairs: a is [height, depth], b [width, depth], out [height, width], each with strides of
 * its own from one matrix, line and column to the next. */
typedef struct {
  int32_t count, height, width, depth, za, zb;
  int32_t a[3], b[3], out[3];
} qb_matrices;

/* sum (a - za)(b - zb) = sum a b - za sum b - zb sum a + depth za zb; sums are mod 2^32. */
QB_FUNCTION void qb_multiply_matrices(const qb_matrices *d, const uint8_t *a, const uint8_t *b,
                                      int32_t *out) {
  const uint32_t za = (uint32_t)d->za, zb = (uint32_t)d->zb;
  int32_t s, i, j, k;
  for (s = 0; s < d->count; s++)
    for (i = 0; i < d->height; i++) {
      const uint8_t *p = a + s * d->a[0] + i * d->a[1];
      int32_t *to = out + s * d->out[0] + i * d->out[1];
      uint32_t base = (uint32_t)d->depth * za * zb;
      for (k = 0; k < d->depth; k++) base -= zb * p[k * d->a[2]];
      for (j = 0; j < d->width; j++) {
        const uint8_t *q = b + s * d->b[0] + j * d->b[1];
        uint32_t sum = 0, of_b = 0;
        if (d->a[2] == 1 && d->b[2] == 1) {
          for (k = 0; k < d->depth; k++) sum += (uint32_t)((int32_t)p[k] * q[k]), of_b += q[k];
        } else {
          for (k = 0; k < d->depth; k++) {
            const int32_t v = q[k * d->b[2]];
            sum += (uint32_t)(p[k * d->a[2]] * v), of_b += (uint32_t)v;
          }
        }
        to[j * d->out[2]] = qb_signed(base + sum - za * of_b);
      }
    }
}
