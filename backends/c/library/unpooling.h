/* ---- codes put back where a max pool took its maxima from ------------------------------------ */

typedef struct {
  int32_t h, w, c, kh, kw, z;
} qb_unpool;

/* v [h, w, c] at the first maximum of each window of x, which lie side by side; z elsewhere */
QB_FUNCTION void qb_max_unpool(const qb_unpool *d, const uint8_t *x, const uint8_t *v,
                               uint8_t *out) {
  const int32_t pitch = d->w * d->kw * d->c;
  int32_t y, q, i, j, c;
  for (y = 0; y < d->h; y++)
    for (q = 0; q < d->w; q++)
      for (c = 0; c < d->c; c++) {
        const int32_t first = y * d->kh * pitch + q * d->kw * d->c + c;
        int32_t best = -1, place = first;
        for (i = 0; i < d->kh; i++)
          for (j = 0; j < d->kw; j++) {
            const int32_t at = first + i * pitch + j * d->c;
            out[at] = (uint8_t)d->z;
            if (x[at] > best) best = x[at], place = at;
          }
        out[place] = *v++;
      }
}
