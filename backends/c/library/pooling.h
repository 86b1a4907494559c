/* ---- pooling windows of images [H, W, C] ----------------------------------------------------- */

typedef struct {
  int32_t h, w, c, kh, kw, sh, sw, dh, dw, top, left, oh, ow, z;
} qb_pool;

/* the channels that tap (i, j) of the window at (y, q) reads; NULL outside of the image */
QB_INLINE const uint8_t *qb_tap(const qb_pool *d, const uint8_t *x, int32_t y, int32_t q,
                                int32_t i, int32_t j) {
  const int32_t v = y * d->sh - d->top + i * d->dh, u = q * d->sw - d->left + j * d->dw;
  return v < 0 || v >= d->h || u < 0 || u >= d->w ? NULL : x + (v * d->w + u) * d->c;
}

/* maxima of codes; places outside of the image never win */
QB_FUNCTION void qb_max_pool(const qb_pool *d, const uint8_t *x, uint8_t *out) {
  int32_t y, q, i, j, c;
  for (y = 0; y < d->oh; y++)
    for (q = 0; q < d->ow; q++, out += d->c) {
      for (c = 0; c < d->c; c++) out[c] = 0;
      for (i = 0; i < d->kh; i++)
        for (j = 0; j < d->kw; j++) {
          const uint8_t *from = qb_tap(d, x, y, q, i, j);
          if (from == NULL) continue;
          for (c = 0; c < d->c; c++)
            if (from[c] > out[c]) out[c] = from[c];
        }
    }
}

/* sums of q - z; places outside of the image add nothing */
QB_FUNCTION void qb_sum_pool(const qb_pool *d, const uint8_t *x, int32_t *out) {
  int32_t y, q, i, j, c;
  for (y = 0; y < d->oh; y++)
    for (q = 0; q < d->ow; q++, out += d->c) {
      for (c = 0; c < d->c; c++) out[c] = 0;
      for (i = 0; i < d->kh; i++)
        for (j = 0; j < d->kw; j++) {
          const uint8_t *from = qb_tap(d, x, y, q, i, j);
          if (from == NULL) continue;
          for (c = 0; c < d->c; c++) out[c] += from[c] - d->z;
        }
    }
}
