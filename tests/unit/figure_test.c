// SPDX-License-Identifier: MIT
// Figures: what gnuplot draws is there in the file. Skipped where there is no gnuplot.
#include "eval/figure.h"

#include "base/file.h"

#include "scratch.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

static rill__figure *new_figure(void) {
    rill__figure *f;
    rill_error err;
    if (rill__figure_check(scratch_path("x.svg"), &err) != RILL_OK) {
        if (err.status != RILL_EUNSUPPORTED) fail_msg("%s", err.message);
        skip();
    }
    // Quotes and marks that a script would take for its own.
    assert_int_equal(rill__figure_new("It's \"50%\" of $HOME `ls` a_b", "tokens", "loss", &f, &err),
                     RILL_OK);
    return f;
}

// The number of times that a word stands in a file, which must begin as said.
static int count_in_file(const char *path, const char *begin, const char *word) {
    char *text;
    size_t length;
    int n = 0;
    rill_error err;
    if (rill__file_read(path, 1 << 22, &text, &length, &err) != RILL_OK)
        fail_msg("%s", err.message);
    assert_memory_equal(text, begin, strlen(begin));
    for (const char *at = text; (at = strstr(at, word)); at++) n++;
    rill__free(text);
    return n;
}

static void must_write(rill__figure *f, const char *path) {
    rill_error err;
    if (rill__figure_write(f, path, &err) != RILL_OK) fail_msg("%s", err.message);
}

static void curves_are_in_the_svg(void **state) {
    (void)state;
    rill__figure *f = new_figure();
    rill__figure_log(f, false, true);
    rill__figure_series(f, "streaming 4+508");
    for (int i = 1; i <= 100; i++) rill__figure_point(f, i, i == 50 ? NAN : 20 + sin(i));
    rill__figure_series(f, "dense's");
    for (int i = 1; i <= 100; i++) rill__figure_point(f, i, i < 10 ? -1 : i * i);
    rill__figure_mark(f, 30, "trained context");
    const char *path = scratch_path("curves.svg");
    must_write(f, path);
    const char *xml = "<?xml";
    assert_int_equal(count_in_file(path, xml, "</svg>"), 1);
    assert_true(count_in_file(path, xml, "streaming 4+508") > 0);
    assert_true(count_in_file(path, xml, "trained context") > 0);
    assert_true(count_in_file(path, xml, "a_b") > 0);
    assert_true(count_in_file(path, xml, "of $HOME `ls`") > 0);
    // Two curves: their colours, and one of them dashed.
    assert_true(count_in_file(path, xml, "rgb(  0, 114, 178)") > 0);
    assert_true(count_in_file(path, xml, "rgb(213,  94,   0)") > 0);
    assert_true(count_in_file(path, xml, "stroke-dasharray") > 0);
    rill__figure_free(&f);
    assert_null(f);
}

static void without_an_ending_both_are_written(void **state) {
    (void)state;
    rill__figure *f = new_figure();
    rill__figure_series(f, "one");
    rill__figure_point(f, 1, 1);
    rill__figure_point(f, 2, 4);
    must_write(f, scratch_path("both"));
    assert_int_equal(count_in_file(scratch_path("both.svg"), "<?xml", "</svg>"), 1);
    (void)count_in_file(scratch_path("both.png"), "\x89PNG", "IEND");
    rill__figure_free(&f);
}

// Polygons of a heat map, the scale's beside it included.
static int polygons_of(const double *values, size_t rows, size_t columns) {
    rill__figure *f = new_figure();
    rill__figure_heat(f, values, rows, columns, "share of attention");
    must_write(f, scratch_path("heat.svg"));
    assert_true(count_in_file(scratch_path("heat.svg"), "<?xml", "share of attention") > 0);
    rill__figure_free(&f);
    return (int)count_in_file(scratch_path("heat.svg"), "<?xml", "<polygon");
}

// A cell is a polygon, what is no number none.
static void a_heat_map(void **state) {
    (void)state;
    const double values[] = {0, 0.25, 0.5, 0.75, 1, NAN};
    assert_int_equal(polygons_of(values, 2, 3) - polygons_of(values, 2, 2), 5 - 4);
}

static void nothing_to_draw_is_a_figure_too(void **state) {
    (void)state;
    rill__figure *f = new_figure();
    must_write(f, scratch_path("nothing.svg"));
    rill__figure_series(f, "empty");
    rill__figure_series(f, "not a number");
    rill__figure_point(f, 1, NAN);
    rill__figure_log(f, true, true);
    must_write(f, scratch_path("nothing.svg"));
    rill__figure_free(&f);
}

static void a_place_that_is_not_there(void **state) {
    (void)state;
    rill_error err;
    rill__figure *f = new_figure();
    rill__figure_series(f, "one");
    rill__figure_point(f, 1, 1);
    assert_int_equal(rill__figure_write(f, scratch_path("absent/a.svg"), &err), RILL_EIO);
    assert_non_null(strstr(err.message, "absent/a.svg"));
    rill__figure_free(&f);
}

static void without_gnuplot_its_package_is_named(void **state) {
    (void)state;
    rill_error err;
    char before[4096];
    snprintf(before, sizeof before, "%s", getenv("PATH"));
    setenv("PATH", "/nowhere", 1);
    rill_status status = rill__figure_check(scratch_path("a.svg"), &err);
    setenv("PATH", before, 1);
    assert_int_equal(status, RILL_EUNSUPPORTED);
    assert_non_null(strstr(err.message, "gnuplot-nox"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(curves_are_in_the_svg),
        cmocka_unit_test(without_an_ending_both_are_written),
        cmocka_unit_test(a_heat_map),
        cmocka_unit_test(nothing_to_draw_is_a_figure_too),
        cmocka_unit_test(a_place_that_is_not_there),
        cmocka_unit_test(without_gnuplot_its_package_is_named),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
