/* ---- softmax over the last axis -------------------------------------------------------------- */

typedef struct {
  const int32_t *table; /* exponentials of distances */
  int32_t entries;
  float multiplier, inverse; /* steps of the table in a distance of 1; 1 / scale of the result */
  const uint8_t *mask;       /* 0: takes no part */
  int32_t mask_y, mask_x, mask_step;
  const int32_t *bias;
  int32_t bias_y, bias_x, bias_step;
  int32_t height, width, length, z, lo, hi; /* row (y, x), element i: y*length*width + i*width + x */
} qb_softmax;

QB_FUNCTION void qb_softmax_rows(const qb_softmax *s, const void *source, int32_t wide,
                                 int32_t *row, uint8_t *out) {
  const float lo = (float)(s->lo - s->z), hi = (float)(s->hi - s->z);
  const int32_t length = s->length, step = s->width;
  int32_t y, x, i;
  for (y = 0; y < s->height; y++) {
    for (x = 0; x < s->width; x++) {
      const int32_t at = y * length * step + x;
      const uint8_t *mask = s->mask == NULL ? NULL : s->mask + y * s->mask_y + x * s->mask_x;
      const int32_t *bias = s->bias == NULL ? NULL : s->bias + y * s->bias_y + x * s->bias_x;
      int32_t most = INT32_MIN, total = 0;
      float r;
      for (i = 0; i < length; i++) {
        int32_t v = wide ? ((const int32_t *)source)[at + i * step]
                         : (int32_t)((const uint8_t *)source)[at + i * step];
        if (bias != NULL) v += bias[i * s->bias_step];
        if ((mask == NULL || mask[i * s->mask_step]) && v > most) most = v;
        row[i] = v;
      }
      for (i = 0; i < length; i++) {
        int32_t e = 0;
        if (mask == NULL || mask[i * s->mask_step]) {
          const float distance = (float)(most - row[i]) * s->multiplier;
          e = s->table[qb_round(distance, 0.0f, (float)(s->entries - 1))];
        }
        row[i] = e;
        total += e;
      }
      r = s->inverse / (float)(total > 0 ? total : 1);
      for (i = 0; i < length; i++)
        out[at + i * step] = (uint8_t)(s->z + qb_round((float)row[i] * r, lo, hi));
    }
  }
}
