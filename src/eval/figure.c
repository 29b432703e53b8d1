// SPDX-License-Identifier: MIT
// Figures: a gnuplot script, handed to gnuplot on its standard input.
#include "eval/figure.h"

#include "base/buffer.h"
#include "base/file.h"

#include <errno.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { MAX_PATH = 4096 };

typedef struct point {
    double x, y;
} point;

typedef struct series {
    char *name;
    size_t first, n;  // of points
} series;

typedef struct mark {
    double x;
    char *text;
} mark;

struct rill__figure {
    char *title, *x_label, *y_label;
    bool log_x, log_y, from_zero;
    rill__bytes series, points, marks;
    double *heat;  // NULL: curves
    size_t heat_rows, heat_columns;
    char *heat_label;
    bool failed;  // memory was out
};

// Text that a script may hold in single quotes: no control characters. The caller's; NULL when
// memory is out.
static char *clean_text(const char *text) {
    char *copy = rill__strdup(text);
    for (char *c = copy; c && *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127) *c = ' ';
    return copy;
}

rill_status rill__figure_new(const char *title, const char *x_label, const char *y_label,
                             rill__figure **out, rill_error *err) {
    rill__figure *f = rill__calloc(1, sizeof *f);
    if (!f) return rill__fail_memory(err, "a figure", sizeof *f);
    rill__bytes_init(&f->series, 0);
    rill__bytes_init(&f->points, 0);
    rill__bytes_init(&f->marks, 0);
    f->title = clean_text(title);
    f->x_label = clean_text(x_label);
    f->y_label = clean_text(y_label);
    if (!f->title || !f->x_label || !f->y_label) {
        rill__figure_free(&f);
        return rill__fail_memory(err, "a figure", strlen(title));
    }
    *out = f;
    return RILL_OK;
}

static series *series_of(const rill__figure *f, size_t *n) {
    *n = f->series.length / sizeof(series);
    return (series *)(void *)f->series.data;
}

static mark *marks_of(const rill__figure *f, size_t *n) {
    *n = f->marks.length / sizeof(mark);
    return (mark *)(void *)f->marks.data;
}

void rill__figure_free(rill__figure **figure) {
    rill__figure *f = *figure;
    if (!f) return;
    size_t n;
    series *s = series_of(f, &n);
    for (size_t i = 0; i < n; i++) rill__free(s[i].name);
    mark *m = marks_of(f, &n);
    for (size_t i = 0; i < n; i++) rill__free(m[i].text);
    rill__bytes_deinit(&f->series);
    rill__bytes_deinit(&f->points);
    rill__bytes_deinit(&f->marks);
    rill__free(f->title);
    rill__free(f->x_label);
    rill__free(f->y_label);
    rill__free(f->heat);
    rill__free(f->heat_label);
    rill__free(f);
    *figure = NULL;
}

void rill__figure_log(rill__figure *f, bool x, bool y) {
    f->log_x = x;
    f->log_y = y;
}

void rill__figure_from_zero(rill__figure *f) {
    f->from_zero = true;
}

void rill__figure_series(rill__figure *f, const char *name) {
    series s = {clean_text(name), f->points.length / sizeof(point), 0};
    if (s.name && rill__bytes_append(&f->series, &s, sizeof s, NULL) == RILL_OK) return;
    rill__free(s.name);
    f->failed = true;
}

void rill__figure_point(rill__figure *f, double x, double y) {
    size_t n;
    series *s = series_of(f, &n);
    const point p = {x, y};
    if (!n || rill__bytes_append(&f->points, &p, sizeof p, NULL) != RILL_OK)
        f->failed = true;
    else
        s[n - 1].n++;
}

void rill__figure_mark(rill__figure *f, double x, const char *text) {
    mark m = {x, clean_text(text)};
    if (m.text && rill__bytes_append(&f->marks, &m, sizeof m, NULL) == RILL_OK) return;
    rill__free(m.text);
    f->failed = true;
}

void rill__figure_heat(rill__figure *f, const double *values, size_t rows, size_t columns,
                       const char *label) {
    size_t n, bytes;
    rill__free(f->heat);
    rill__free(f->heat_label);
    f->heat_label = clean_text(label);
    f->heat = rill__mul_size(rows, columns, &n) && rill__mul_size(n, sizeof *values, &bytes)
                  ? rill__malloc(bytes)
                  : NULL;
    if (!f->heat || !f->heat_label) {
        f->failed = true;
        return;
    }
    memcpy(f->heat, values, bytes);
    f->heat_rows = rows;
    f->heat_columns = columns;
}

// ---- The script -----------------------------------------------------------------------------

// Appends to the script; a failure stays in `failed`.
typedef struct script {
    rill__bytes text;
    bool failed;
} script;

static void say(script *s, const char *format, ...) RILL_PRINTF(2, 3);
static void say(script *s, const char *format, ...) {
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (rill__bytes_append(&s->text, line, strlen(line), NULL) != RILL_OK) s->failed = true;
}

// 'text', quotes doubled.
static void quote(script *s, const char *text) {
    say(s, "'");
    for (; *text; text++) {
        bool doubled = *text == '\'';
        if (rill__bytes_append(&s->text, doubled ? "''" : text, doubled ? 2 : 1, NULL) != RILL_OK)
            s->failed = true;
    }
    say(s, "'");
}

static void setting(script *s, const char *name, const char *text) {
    say(s, "set %s ", name);
    quote(s, text);
    say(s, " noenhanced\n");
}

static void number(script *s, double value, const char *end) {
    if (isfinite(value))
        say(s, "%.10g%s", value, end);
    else
        say(s, "NaN%s", end);
}

static bool drawn(const rill__figure *f, const point *p) {
    return !(f->log_x && p->x <= 0) && !(f->log_y && p->y <= 0);
}

// Powers of ten are few on an axis that spans less than two of them: name 2 and 5 as well.
static void axis(script *s, const char *name, bool logarithmic, double low, double high) {
    if (logarithmic) say(s, "set logscale %s\n", name);
    if (logarithmic && low > 0 && high / low < 100)
        for (double ten = pow(10, floor(log10(low))); ten <= high; ten *= 10)
            say(s, "set %stics add (%.10g, %.10g, %.10g)\n", name, ten, 2 * ten, 5 * ten);
    say(s, high >= 1e4 ? "set format %s '%%.0s%%c'\n" : "set format %s '%%g'\n", name);
}

static void axes(script *s, const rill__figure *f) {
    const point *points = (const point *)(const void *)f->points.data;
    double low[2] = {INFINITY, INFINITY}, high[2] = {-INFINITY, -INFINITY};
    for (size_t i = 0; i < f->points.length / sizeof *points; i++) {
        if (!drawn(f, &points[i]) || !isfinite(points[i].x + points[i].y)) continue;
        low[0] = fmin(low[0], points[i].x), high[0] = fmax(high[0], points[i].x);
        low[1] = fmin(low[1], points[i].y), high[1] = fmax(high[1], points[i].y);
    }
    // gnuplot refuses to find the range of no points.
    if (high[0] < low[0]) {
        say(s, "set xrange [1:10]\nset yrange [1:10]\n");
        return;
    }
    say(s, "set autoscale xfixmax\n");
    axis(s, "x", f->log_x, low[0], high[0]);
    axis(s, "y", f->log_y, low[1], high[1]);
    if (f->from_zero && !f->log_y) say(s, "set yrange [0:*]\n");
}

static void curves(script *s, const rill__figure *f) {
    // Okabe and Ito (2008), yellow last: it is faint on white.
    static const char *const colours[] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                          "#000000", "#56B4E9", "#E69F00", "#B8A800"};
    static const int shapes[] = {7, 5, 9, 13, 6, 4, 8, 12};
    size_t n, n_marks;
    const series *all = series_of(f, &n);
    const mark *marks = marks_of(f, &n_marks);
    const point *points = (const point *)(const void *)f->points.data;
    axes(s, f);
    for (size_t i = 0; i < n_marks; i++) {
        say(s,
            "set arrow from first %.10g, graph 0 to first %.10g, graph 1 nohead dt 3 lc "
            "'#808080'\n",
            marks[i].x, marks[i].x);
        say(s, "set label ");
        quote(s, marks[i].text);
        say(s, " at first %.10g, graph 0.03 rotate left offset 0.6,0 tc '#505050' noenhanced\n",
            marks[i].x);
    }
    say(s, "plot ");
    for (size_t i = 0; i < n; i++) {
        size_t every = all[i].n / 10 + 1;
        say(s, "%s'-' with linespoints lw 2 lc '%s' dt %d pt %d ps 0.8 pi %zu title ",
            i ? ", " : "", colours[i % 8], (int)(i % 5) + 1, shapes[i % 8], every);
        quote(s, all[i].name);
        say(s, " noenhanced");
    }
    // gnuplot takes an empty plot for an error: one point that is not there.
    say(s, n ? "\n" : "NaN notitle\n");
    for (size_t i = 0; i < n; i++) {
        for (size_t j = all[i].first; j < all[i].first + all[i].n; j++) {
            if (!drawn(f, &points[j])) continue;
            number(s, points[j].x, " ");
            number(s, points[j].y, "\n");
        }
        if (!all[i].n) say(s, "NaN NaN\n");
        say(s, "e\n");
    }
}

static void heat_map(script *s, const rill__figure *f) {
    // Cividis: even steps of lightness, and the same to those who do not see red or green.
    say(s, "set palette defined (0 '#00224E', 1 '#35456C', 2 '#666970', 3 '#948E77', 4 '#C8B866', "
           "5 '#FEE838')\n");
    setting(s, "cblabel", f->heat_label);
    say(s, "unset key\nset tics out nomirror\n");
    say(s, "set xrange [-0.5:%g]\nset yrange [-0.5:%g]\n", (double)f->heat_columns - 0.5,
        (double)f->heat_rows - 0.5);
    // Whole numbers, not too many of them.
    say(s, "set xtics 0,%zu\nset ytics 0,%zu\n", f->heat_columns / 16 + 1, f->heat_rows / 16 + 1);
    // Pixels are drawn one by one: viewers smooth a picture inside an SVG.
    say(s, "plot '-' matrix with image pixels\n");
    for (size_t row = 0; row < f->heat_rows; row++)
        for (size_t i = 0; i < f->heat_columns; i++)
            number(s, f->heat[row * f->heat_columns + i], i + 1 < f->heat_columns ? " " : "\n");
    say(s, "e\n");
}

static void write_script(script *s, const rill__figure *f, bool svg, const char *target) {
    say(s, svg ? "set terminal svg size 860,540 dynamic background '#ffffff' "
                 "font 'DejaVu Sans,Arial,sans-serif,14'\n"
               : "set terminal pngcairo size 1290,810 font 'DejaVu Sans,16'\n");
    setting(s, "title", f->title);
    setting(s, "xlabel", f->x_label);
    setting(s, "ylabel", f->y_label);
    // The axis' name keeps clear of a legend of one line.
    say(s, "set xlabel offset 0,0.5\nset key below width 1 height 0.5\nset border lc '#404040'\n"
           "set grid lc '#d8d8d8' dt 1\nset samples 1000\n");
    say(s, "set output ");
    quote(s, target);
    say(s, "\n");
    if (f->heat)
        heat_map(s, f);
    else
        curves(s, f);
    say(s, "unset output\n");
}

// ---- The child ------------------------------------------------------------------------------

static rill_status no_gnuplot(int code, rill_error *err) {
    if (code != ENOENT) return rill__fail(err, RILL_EIO, "gnuplot: %s", strerror(code));
    return rill__fail(err, RILL_EUNSUPPORTED,
                      "figure: gnuplot is not installed: it draws the figures; Debian's package is "
                      "gnuplot-nox");
}

// Runs gnuplot with standard input and error as given.
static rill_status start(int input, int errors, const char *argument, pid_t *child,
                         rill_error *err) {
    // posix_spawnp takes strings that it does not change as if it did.
    char *const argv[] = {(char *)(uintptr_t) "gnuplot", (char *)(uintptr_t)argument, NULL};
    posix_spawn_file_actions_t actions;
    int code = posix_spawn_file_actions_init(&actions);
    if (code) return no_gnuplot(code, err);
    if (input >= 0) code = posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    if (!code) code = posix_spawn_file_actions_adddup2(&actions, errors, STDOUT_FILENO);
    if (!code) code = posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
    if (!code) code = posix_spawnp(child, "gnuplot", &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return code ? no_gnuplot(code, err) : RILL_OK;
}

// Waits for the child; anything but a good end is reported with the last line that it printed.
static rill_status finish(pid_t child, int errors, rill_error *err) {
    int how;
    pid_t ended;
    do ended = waitpid(child, &how, 0);
    while (ended < 0 && errno == EINTR);
    if (ended == child && WIFEXITED(how) && WEXITSTATUS(how) == 0) return RILL_OK;
    // It shows the line at fault, a mark below it, and then says what was wrong.
    char said[2048];
    off_t length = lseek(errors, 0, SEEK_END), skip = length - (off_t)sizeof said + 1;
    ssize_t n = pread(errors, said, sizeof said - 1, skip > 0 ? skip : 0);
    while (n > 0 && (unsigned char)said[n - 1] <= ' ') n--;
    said[n > 0 ? n : 0] = 0;
    const char *line = strrchr(said, '\n');
    line = line ? line : said;
    line += strspn(line, " \n\t");
    return rill__fail(err, RILL_EIO, "gnuplot: %s", *line ? line : "failed without a word");
}

static rill_status run_gnuplot(const rill__bytes *text, rill_error *err) {
    int ends[2], errors = memfd_create("gnuplot", MFD_CLOEXEC);
    if (errors < 0) return rill__fail(err, RILL_EIO, "gnuplot: %s", strerror(errno));
    // A socket, so that a gnuplot that ended is an error of send and not a signal.
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        close(errors);
        return rill__fail(err, RILL_EIO, "gnuplot: %s", strerror(errno));
    }
    pid_t child;
    rill_status status = start(ends[1], errors, "-", &child, err);
    close(ends[1]);
    if (status == RILL_OK) {
        for (size_t sent = 0; sent < text->length;) {
            ssize_t n = send(ends[0], text->data + sent, text->length - sent, MSG_NOSIGNAL);
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) break;  // it ended: its status says why
            sent += (size_t)n;
        }
        shutdown(ends[0], SHUT_WR);
        status = finish(child, errors, err);
    }
    close(ends[0]);
    close(errors);
    return status;
}

static bool ends_in(const char *path, const char *ending) {
    size_t a = strlen(path), b = strlen(ending);
    return a > b && !strcmp(path + a - b, ending);
}

// The file number i that `path` stands for, in `out`; false if there are not so many.
static bool target(char *out, size_t capacity, const char *path, int i) {
    bool both = !ends_in(path, ".svg") && !ends_in(path, ".png");
    snprintf(out, capacity, "%s%s", path, !both ? "" : i == 0 ? ".svg" : ".png");
    return i < (both ? 2 : 1);
}

// Whether a file can be made there.
static rill_status check_target(const char *path, rill_error *err) {
    if (strlen(path) > MAX_PATH - 32)
        return rill__fail(err, RILL_EINVAL, "figure: %.80s...: too long for the name of a file",
                          path);
    return rill__file_check_writable(path, err);
}

rill_status rill__figure_check(const char *path, rill_error *err) {
    char file[MAX_PATH];
    int errors = memfd_create("gnuplot", MFD_CLOEXEC);
    if (errors < 0) return rill__fail(err, RILL_EIO, "gnuplot: %s", strerror(errno));
    pid_t child;
    rill_status status = start(-1, errors, "--version", &child, err);
    if (status == RILL_OK) status = finish(child, errors, err);
    close(errors);
    for (int i = 0; status == RILL_OK && target(file, sizeof file, path, i); i++)
        status = check_target(file, err);
    return status;
}

// gnuplot writes to a file beside it, which is renamed.
static rill_status draw(const rill__figure *f, const char *path, bool svg, rill_error *err) {
    script s = {0};
    char beside[MAX_PATH];
    snprintf(beside, sizeof beside, "%s.%d.part", path, (int)getpid());
    rill__bytes_init(&s.text, 0);
    write_script(&s, f, svg, beside);
    rill_status status =
        s.failed ? rill__fail_memory(err, "a figure", s.text.length) : run_gnuplot(&s.text, err);
    rill__bytes_deinit(&s.text);
    if (status == RILL_OK && !rill__file_exists(beside))
        status = rill__fail(err, RILL_EIO, "%s: gnuplot wrote no such file", path);
    if (status == RILL_OK && rename(beside, path) != 0)
        status = rill__fail(err, RILL_EIO, "%s: %s", path, strerror(errno));
    if (status != RILL_OK) unlink(beside);
    return status;
}

rill_status rill__figure_write(const rill__figure *f, const char *path, rill_error *err) {
    char file[MAX_PATH];
    if (f->failed) return rill__fail_memory(err, "a figure", f->points.length);
    rill_status status = RILL_OK;
    for (int i = 0; status == RILL_OK && target(file, sizeof file, path, i); i++) {
        status = check_target(file, err);
        if (status == RILL_OK) status = draw(f, file, ends_in(file, ".svg"), err);
    }
    return status;
}
