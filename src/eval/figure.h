// SPDX-License-Identifier: MIT
// Figures: curves over one axis, or a heat map, drawn by gnuplot as SVG or PNG.
//
//   rill__figure_new("Perplexity", "position", "perplexity", &figure, &err);
//   rill__figure_series(figure, "streaming 4+508");
//   rill__figure_point(figure, 1, 22.5);
//   rill__figure_write(figure, "curve.svg", &err);
//
// Curves differ in colour (Okabe and Ito's, told apart by every kind of colour vision), in dash and
// in point, so that they are told apart in grey as well. Filling a figure does not fail: memory
// that was not there is reported by rill__figure_write.
#ifndef RILL_EVAL_FIGURE_H
#define RILL_EVAL_FIGURE_H

#include "base/base.h"

typedef struct rill__figure rill__figure;

// An empty figure; the texts are copied. RILL_ENOMEM.
RILL_NODISCARD rill_status rill__figure_new(const char *title, const char *x_label,
                                            const char *y_label, rill__figure **out,
                                            rill_error *err);
// Sets *figure to NULL; NULL in it is allowed.
void rill__figure_free(rill__figure **figure);

// Logarithmic axes: points that are not above zero are left out there.
void rill__figure_log(rill__figure *figure, bool x, bool y);
// The y axis begins at zero.
void rill__figure_from_zero(rill__figure *figure);

// Begins a curve.
void rill__figure_series(rill__figure *figure, const char *name);
// The next point of the last curve. One that is not finite interrupts the line.
void rill__figure_point(rill__figure *figure, double x, double y);
// A vertical line with a text beside it: where a trained context ends, where the first token goes.
void rill__figure_mark(rill__figure *figure, double x, const char *text);

// A heat map in the place of curves: values [rows, columns], row-major, copied; row 0 is at the
// bottom. `label` names the scale beside it.
void rill__figure_heat(rill__figure *figure, const double *values, size_t rows, size_t columns,
                       const char *label);

// Draws the figure: an SVG or a PNG as the ending of the path says, both (.svg and .png appended)
// if it has neither. A file appears whole or not at all. RILL_EUNSUPPORTED if gnuplot is not there,
// by the name of its package; RILL_EIO, RILL_ENOMEM.
RILL_NODISCARD rill_status rill__figure_write(const rill__figure *figure, const char *path,
                                              rill_error *err);
// Whether rill__figure_write will find its gnuplot and can write there: to know before hours of
// work.
RILL_NODISCARD rill_status rill__figure_check(const char *path, rill_error *err);

#endif
