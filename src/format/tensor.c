// SPDX-License-Identifier: MIT
// Tables of tensors: checked as a whole, and searched by name.
#include "format/tensor.h"

#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b) {
    return strcmp(((const rill__tensor *)a)->name, ((const rill__tensor *)b)->name);
}

static int by_data(const void *a, const void *b) {
    const rill__tensor *left = a, *right = b;
    return (left->data > right->data) - (left->data < right->data);
}

void rill__tensors_sort(rill__tensor *tensors, size_t n) {
    if (n) qsort(tensors, n, sizeof *tensors, by_name);
}

rill_status rill__tensors_check(const char *path, rill__tensor *tensors, size_t n,
                                rill_error *err) {
    // In the order of their places, every tensor must end before the next begins.
    if (n) qsort(tensors, n, sizeof *tensors, by_data);
    for (size_t i = 1; i < n; i++)
        if (tensors[i - 1].data + tensors[i - 1].bytes > tensors[i].data)
            return rill__fail(err, RILL_EFORMAT, "%s: tensors '%.80s' and '%.80s' overlap", path,
                              tensors[i - 1].name, tensors[i].name);
    rill__tensors_sort(tensors, n);
    for (size_t i = 1; i < n; i++)
        if (strcmp(tensors[i - 1].name, tensors[i].name) == 0)
            return rill__fail(err, RILL_EFORMAT, "%s: tensor '%s' occurs twice", path,
                              tensors[i].name);
    return RILL_OK;
}

const rill__tensor *rill__tensors_find(const rill__tensor *tensors, size_t n, const char *name) {
    const rill__tensor key = {.name = name};
    return n ? bsearch(&key, tensors, n, sizeof key, by_name) : NULL;
}
