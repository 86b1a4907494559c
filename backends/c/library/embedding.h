/* ---- rows of tables by ids of the input: docs/semantics.md, section 4 ------------------------- */

typedef struct {
  const int32_t *places; /* of the ids in the row, -1 for the id 0; NULL: in their order */
  const uint8_t *table;  /* [rows][width] */
  int32_t rows, width;
  int32_t planes, lines; /* ids in order [planes][lines], codes [lines][width][planes] */
} qb_embedding;

/* The row of a number, cut to the table: no number leads elsewhere, and NaN is row 0. */
QB_INLINE int32_t qb_row(qb_number number, int32_t rows) {
  if (!(number > 0)) return 0;
  return number >= (qb_number)(rows - 1) ? rows - 1 : (int32_t)number;
}

QB_FUNCTION void qb_embed(const qb_embedding *d, const qb_number *x, uint8_t *out) {
  int32_t c, h, i;
  for (c = 0; c < d->planes; c++) {
    for (h = 0; h < d->lines; h++) {
      const int32_t at = c * d->lines + h, place = d->places == NULL ? at : d->places[at];
      const int32_t row = place < 0 ? 0 : qb_row(x[place], d->rows);
      const uint8_t *from = d->table + (ptrdiff_t)row * d->width;
      uint8_t *to = out + (ptrdiff_t)h * d->width * d->planes + c;
      for (i = 0; i < d->width; i++, to += d->planes) *to = from[i];
    }
  }
}
